"""Remit held against programs that others wrote: the official suite, and what is installed to run it."""
