"""Suggestions: what a tool's review could say, judged from its definition alone. A person still signs it."""
