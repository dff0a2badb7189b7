"""The SDK: what a Python program imports to speak to Remit. Core only, no server code."""

from remit.sdk.client import Document, Noun, RemitClient

__all__ = ["Document", "Noun", "RemitClient"]
