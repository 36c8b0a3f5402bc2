"""Which process has which call: claims, loads, leases, and what another process needs to go on with a call."""
