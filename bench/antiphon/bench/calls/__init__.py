"""Benches of whole calls: answer times, recovery."""
