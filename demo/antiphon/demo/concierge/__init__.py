"""A clinic's front desk that books, moves and cancels appointments.

`dialogue.respond` is the whole of it, a pure function. `agent` is the text agent that the stack starts, a process of
its own; `in_bridge` is the same for a bridge of a test or a bench. Nothing is imported here: the process of the agent
runs where there is no bridge.
"""
