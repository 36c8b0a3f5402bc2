"""The short way of media that comes as expected, beside the ordinary one, which takes everything else.

Imports `bus`, `ice`, `net` and `session`.
"""
