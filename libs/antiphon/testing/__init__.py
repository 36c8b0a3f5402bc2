"""Test doubles for the stack's own tests and benches. Agents have a test kit of their own.

Imports `antiphon.schemas` and `antiphon.runtime`.
"""
