"""Sessions outlive their process: slots, checkpoints, the failure detector, takeover.

Imports `calls`, `bus`, `net`, `session`.
"""
