"""Benches of the media path: transceiver, delay, Opus."""
