"""AgentDojo in the lab: the four suites' tools as MCP tools, and reviewed labels for each of them."""
