"""What an operator asks of all processes at once: the calls that run, the processes themselves, an end or a drain.

Signaling does it for HTTP and `antiphon top` over NATS. Neither keeps a state of it.
"""
