"""Guards: values in, values or a refusal out."""
