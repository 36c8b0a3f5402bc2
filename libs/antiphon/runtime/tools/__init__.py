"""Tools that a process runs for a language model: HTTP requests and MCP servers, bounded and checked.

`tool_set` is what others use; the modules of HTTP and MCP are loaded when there are such tools (extra `tools`).
"""
