"""From the caller's audio frames to turns and their text."""
