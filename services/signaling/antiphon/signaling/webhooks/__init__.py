"""Delivery of webhooks: notices of calls, taken from the stream that the calls' owners write to.

All replicas of signaling take from it together, so the death of one loses nothing. docs/webhooks.md
"""
