"""`antiphon up`: the whole stack on one machine, each part its own process; where the other commands find it."""
