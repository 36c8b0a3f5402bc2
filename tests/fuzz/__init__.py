"""Coverage-guided fuzzing of what reads bytes from the network: `targets` says what, `__main__` runs one."""
