"""A transceiver whose process makes spans besides, so many a second. `antiphon bench tracing-load` runs it.

`SPANS_A_SECOND` says how many; each second the file `SPANS_FILE` gets what was made, and dropped, so far.
"""

from __future__ import annotations

import json
import os
import runpy
import threading
import time
from pathlib import Path
from typing import Final

from antiphon.runtime.telemetry import spans

EVERY: Final = 0.01


def _make(rate: int, file: Path) -> None:
    while not spans.enabled():
        time.sleep(EVERY)
    made, began, written = 0, time.monotonic(), 0.0
    while spans.enabled():
        time.sleep(EVERY)
        now = time.monotonic() - began
        for number in range(made, int(now * rate)):
            spans.begin("bench", attributes={"number": number, "session.id": "rtc_bench", "part": "agent"}).end()
            made += 1
        if now - written >= 1:
            written = now
            new = file.with_suffix(".new")
            new.write_text(json.dumps({"made": made, "dropped": spans.dropped()}))
            new.replace(file)


if __name__ == "__main__":
    arguments = (int(os.environ["SPANS_A_SECOND"]), Path(os.environ["SPANS_FILE"]))
    threading.Thread(target=_make, args=arguments, daemon=True).start()
    runpy.run_module("antiphon.transceiver", run_name="__main__")
