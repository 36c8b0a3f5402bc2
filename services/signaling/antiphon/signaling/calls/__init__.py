"""One core for every protocol that places calls: who may place one now, for which agent, and where it goes.

Imports `auth`, `http` and `placement`, and nothing of `protocols`.
"""
