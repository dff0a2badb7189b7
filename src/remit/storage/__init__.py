"""Promises kept on disk. Each store is written in its own idiom; what they share is the contract test suite."""
