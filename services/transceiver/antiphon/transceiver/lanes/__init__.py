"""The short way of media that comes as expected, beside the ordinary one, which takes everything else.

Imports `ice`, `net` and `session`.
"""
