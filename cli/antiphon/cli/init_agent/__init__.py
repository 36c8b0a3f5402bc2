"""`antiphon init`: the files of a new agent."""
