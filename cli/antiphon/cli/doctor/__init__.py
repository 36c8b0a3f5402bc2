"""`antiphon doctor`: the command, and its checks by what they look at."""
