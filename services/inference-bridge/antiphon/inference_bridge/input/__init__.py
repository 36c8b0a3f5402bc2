"""A caller's audio to turn events: framing, voice activity, the turn detector.

Imports the voice activity model and `turns`; `conversation.transcriptions` gets the events.
"""
