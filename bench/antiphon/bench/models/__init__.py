"""Benches of the speech models."""
