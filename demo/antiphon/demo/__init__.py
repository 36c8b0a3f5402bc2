"""What `make run` shows: the concierge of a clinic.

It imports the product; the product imports nothing of it and loads it by name.
"""
