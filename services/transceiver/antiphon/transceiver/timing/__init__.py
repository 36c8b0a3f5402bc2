"""Timing of a process: the timing wheel that spreads sessions over slots, pacing, the scheduler on the event loop.

Imports the publisher of `bus`, which the scheduler flushes; nothing of sessions.
"""
