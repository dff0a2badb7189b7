"""Remit: an identity, an owner and a remit for every AI agent."""
