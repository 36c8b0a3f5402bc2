"""One conversation: responses, their playback, the session, what it publishes.

Imports `turns`, `tts`, `models`, `realtime_protocol`, `agents`.
"""
