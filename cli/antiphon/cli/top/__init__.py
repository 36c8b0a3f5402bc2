"""`antiphon top`: the calls that run, in the terminal. Pure model, two sources (NATS, HTTP), a table and a screen."""
