"""What clients speak: the calls of the realtime API and its side channel.

Imports `auth`, `calls`, `http` and `placement`.
"""
