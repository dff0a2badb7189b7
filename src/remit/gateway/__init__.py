"""The MCP door: calls are opened, forwarded to upstream servers, and closed."""
