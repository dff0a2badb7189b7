"""The demo: a real agent session before three real servers, first at work, then compromised."""
