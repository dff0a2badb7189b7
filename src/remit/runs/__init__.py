"""Runs: durable multi-step work. Nothing stands here yet; the room is kept so that the stairs are whole."""
