"""The relay: moves packets between clients and the transceivers that own their calls, and opens none of them."""
