"""The HTTP application: composition, middleware, request bodies, errors, health, static files. No call logic.

`app` composes the service and imports `calls` and `protocols`. The other modules here import `auth`, `limits`,
`placement` and `settings` at most.
"""
