"""Policy: may this chain call this tool with these arguments, and what does a result teach a session?"""
