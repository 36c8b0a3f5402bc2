"""Benches of the relay."""
