"""The operators' console: its page, its sign-in, and what it reads from the streams of NATS."""
