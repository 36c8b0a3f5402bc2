"""What a session frame costs at the least: the same libraries called from C, and bare NATS messages.

python -m antiphon.bench.media.c_baseline chain SESSIONS     # us per frame as JSON, null without a C compiler
python -m antiphon.bench.media.c_baseline nats URL           # echoes `bench.baseline.in` until stdin ends
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from cffi import FFI
from nats.aio.msg import Msg
from pylibsrtp import Policy, Session

from antiphon.bench.media.load_clients import RATE, recording
from antiphon.rtc.media import opus
from antiphon.rtc.rtp.libsrtp_internals import SRTP_LIBRARY, srtp_address
from antiphon.runtime.nats import connection

_FUNCTIONS: Final = """
    double chain(void *, void *, void *, void *, void **, void **, void **, void **, void **, int,
                 const unsigned char *, const int *, int, int, int);
"""
_SRTP: Final = "int srtp_protect(void *, void *, int *); int srtp_unprotect(void *, void *, int *);"


def chain_us(sessions: int, frames: int = 60) -> float | None:
    """CPU microseconds per session frame in C; None when there is no C compiler or it fails."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory, "baseline.so")
        command = [
            compiler,
            "-O2",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
            str(Path(__file__).with_name("c_baseline.c")),
        ]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
        ffi = FFI()
        ffi.cdef(_FUNCTIONS + _SRTP)
        baseline, srtp = ffi.dlopen(str(library)), ffi.dlopen(SRTP_LIBRARY)

        def pointer(address: int) -> Any:
            return ffi.cast("void *", address)

        profile, key = Policy.SRTP_PROFILE_AEAD_AES_128_GCM, bytes(range(28))

        def srtp_sessions(kind: int) -> list[Session]:
            return [Session(Policy(key=key, ssrc_type=kind, srtp_profile=profile)) for _ in range(sessions)]

        keep = [srtp_sessions(Policy.SSRC_ANY_INBOUND)]
        keep += [srtp_sessions(Policy.SSRC_ANY_OUTBOUND), srtp_sessions(Policy.SSRC_ANY_OUTBOUND)]
        rx, tx, feed = ([pointer(srtp_address(one)) for one in each] for each in keep)
        codecs = [(opus.Decoder(RATE), opus.Encoder(RATE)) for _ in range(sessions)]
        packets = recording()
        spent = baseline.chain(
            ffi.cast("void *", srtp.srtp_protect),
            ffi.cast("void *", srtp.srtp_unprotect),
            pointer(opus.address_of("opus_decode")),
            pointer(opus.address_of("opus_encode")),
            ffi.new("void *[]", rx),
            ffi.new("void *[]", tx),
            ffi.new("void *[]", feed),
            ffi.new("void *[]", [pointer(decoder.address) for decoder, _ in codecs]),
            ffi.new("void *[]", [pointer(encoder.address) for _, encoder in codecs]),
            sessions,
            b"".join(packets),
            ffi.new("int[]", [len(packet) for packet in packets]),
            len(packets),
            RATE // 50,
            frames,
        )
        return float(spent) if spent > 0 else None


async def echo(url: str) -> None:
    """One message in, one message out, by the client of all parts and nothing else: what NATS alone costs."""
    client = await connection.connect(url, "antiphon-bench-baseline")

    async def back(message: Msg) -> None:
        await client.publish("bench.baseline.out", message.data)

    await client.subscribe("bench.baseline.in", cb=back)
    await client.flush()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await client.close()


if __name__ == "__main__":
    if sys.argv[1] == "chain":
        print(json.dumps(chain_us(int(sys.argv[2]))))
    else:
        asyncio.run(echo(sys.argv[2]))
