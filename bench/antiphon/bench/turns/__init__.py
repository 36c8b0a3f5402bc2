"""Bench of turn taking: scripted callers, when their turns end, and what interrupts the agent."""
