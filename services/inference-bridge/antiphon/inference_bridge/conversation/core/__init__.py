"""The pure conversation core: events and `now` in, a list of commands out. No tasks, no sockets, no clock.

`machine` is the way in. `state` holds everything, `events` and `commands` are the two alphabets, and the transitions
stand in `listening` (the caller's sounds and words), `interruption` (what happens when the caller interrupts),
`requests` (creates, cancels, the greeting), `lifecycle` (a response from its beginning to its end) and `timing` (what
the passing of time does).
"""
