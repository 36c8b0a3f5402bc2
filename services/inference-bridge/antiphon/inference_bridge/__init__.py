"""The inference bridge: takes calls off NATS, finds turns in the audio, has an agent answer, speaks.

    audio.in -> windows -> voice activity -> turns -> transcriber -> agent -> clauses -> synthesizer -> audio.out

Turn detection, barge-in and playout tracking are pure and take `now`; models run on threads of their own;
`conversation.session` joins them for one call, `dispatch.bridge` takes calls for the process, whose life is `process`.
"""

import os

from antiphon.runtime import absent_pyav

# onnxruntime reports its use to its makers unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
absent_pyav.stand_in()  # for faster-whisper
