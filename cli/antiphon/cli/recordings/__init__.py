"""`antiphon record` and `antiphon replay`: calls written to files, and played into an agent again."""
