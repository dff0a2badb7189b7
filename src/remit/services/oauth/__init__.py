"""The authorization server: which client gets a token, for whom, for what, and until when (OAuth 2.1)."""
