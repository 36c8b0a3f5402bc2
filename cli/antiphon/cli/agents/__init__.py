"""`antiphon agents`: present agents, folders of their files, credentials of plug-ins."""
