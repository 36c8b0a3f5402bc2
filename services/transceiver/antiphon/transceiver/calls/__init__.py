"""Calls: opening one, its agent, its control requests, the table of running sessions.

Imports `session`, `bus`, `net`.
"""
