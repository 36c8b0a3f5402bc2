"""Speech to text.

Imports nothing of ours outside this folder.
"""
