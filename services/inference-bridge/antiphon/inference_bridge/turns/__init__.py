"""When a caller's turn begins and ends, and whether a sound interrupts the agent. Pure: events and `now` in.

`window` is the unit of audio, `detector` finds turns in windows (`turn_settings`), `barge_in` decides about a sound
while the agent speaks, `backchannel` about words. Imports nothing of the bridge but `stt.chunking`.
"""
