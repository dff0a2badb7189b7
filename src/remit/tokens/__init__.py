"""Credentials made, bound and checked: keys, API keys, session tokens."""
