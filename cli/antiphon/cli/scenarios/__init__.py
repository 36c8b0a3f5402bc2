"""`antiphon test`: scenarios from files, against an agent in virtual time or through a running stack."""
