"""Prepared calls: answered before the caller presses the button, made when the client's first check comes.

docs/prepared-calls.md says what they are for. Imports `calls`, `net` and `session`.
"""
