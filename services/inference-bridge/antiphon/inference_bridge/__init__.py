"""The inference bridge: takes calls off the bus, finds turns in the audio, lets an agent answer, speaks.

    audio.in -> windows -> voice activity -> turns -> transcriber -> agent -> clauses -> synthesizer -> audio.out

Turn taking, speech accounting and the scripted agent are pure and take `now`; models run on worker
threads; `session` is the shell that joins them for one call and `bridge` the one that takes calls.
"""

import os

# onnxruntime reports its use to its makers unless this is set before it is imported; we send nobody anything.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
