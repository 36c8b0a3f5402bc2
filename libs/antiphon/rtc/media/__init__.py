"""Audio of one stream: Opus, the clock of RTP timestamps, the jitter buffer. No I/O.

Imports nothing of ours outside this folder.
"""
