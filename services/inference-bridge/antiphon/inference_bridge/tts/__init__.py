"""Text to speech: clauses, normalization, phonemes, the synthesizer.

Imports nothing of ours outside this folder.
"""
