"""Signaling: HTTP on the outside, NATS on the inside. Offers, credentials, placement, the web page."""
