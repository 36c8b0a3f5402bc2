"""Sessions outlive their process: slots, checkpoints, the failure detector, takeover, handover.

Pure: `takeover_planner`, `checkpoint_schedule`, `distribution`, `peers`; the others are shells around them. Imports
`calls`, `bus`, `net`, `session`.
"""
