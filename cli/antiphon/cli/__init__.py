"""The `antiphon` command: run the whole stack, call it, check it, measure it."""
