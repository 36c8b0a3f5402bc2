"""When a caller's turn begins and ends, and what words mean. Pure: events and `now` in.

`window` is the unit of audio, `detector` finds turns in windows (`turn_settings`), `backchannel` decides about words.
Imports nothing of the bridge but `stt.chunking`.
"""
