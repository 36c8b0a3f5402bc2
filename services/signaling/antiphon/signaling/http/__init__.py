"""The HTTP application: middleware, bodies, errors, health. No call logic.

The application is the root: it imports `protocols`; the rest of this folder imports none of ours.
"""
