"""Whose turn it is: from windows of audio to turns (`detector`), and who may speak meanwhile (`floor`, `words`).

Those three are pure and take `now`; `ear` is the shell that feeds them, `turn` what is remembered of one turn.
"""
