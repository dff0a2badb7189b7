"""Examples: an office to govern, and the demo that attacks it."""
