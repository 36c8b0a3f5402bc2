"""Who may call: API keys, client secrets.

Imports `http.errors`.
"""
