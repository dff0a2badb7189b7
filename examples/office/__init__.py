"""An office of mail, files and payments: an MCP server for the demo and the tests, with its reviews."""
