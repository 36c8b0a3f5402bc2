"""Acoustic echo: what of a caller's audio is the agent's own voice, and the audio without it.

`EchoCanceller` is the way in, for the bridge and for agents that take audio; `PlayedSpeech` tells it what the caller's
side has played. Needs the extra `echo`. Imports run downwards: canceller, delay, played_speech.
"""
