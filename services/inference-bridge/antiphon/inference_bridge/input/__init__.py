"""The caller's audio: framing, voice activity, and what follows from turn events.

`turn_handling` drives `stt` and `conversation`; the rest imports `turns` and the voice activity model only.
"""
