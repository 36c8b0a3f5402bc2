"""One conversation: its turns, its responses and their playback, the session that joins them, what it publishes.

Imports `input`, `turns`, `models`, `stt`, `tts`, `realtime_protocol`, `agents`; `dispatch` imports it.
"""
