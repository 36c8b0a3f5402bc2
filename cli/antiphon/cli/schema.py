"""`antiphon schema export`: the contract of the bus as JSON Schema, one file per message.

`formats.json` describes what is no JSON: the audio frame, the tunnel header, the route token and the subjects, each
with its layout. The vectors in `schemas/vectors/` show them byte by byte.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from antiphon.cli.errors import UsageError
from antiphon.schemas import audio, route_token, subjects, tunnel
from antiphon.schemas.messages import CLAIM_VERSION, MAX_MESSAGE_BYTES, MESSAGE_VERSION, MESSAGES

JSON_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon schema`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="write one JSON Schema file per message")
    export.add_argument(
        "directory", nargs="?", type=Path, default=Path("schema"), metavar="DIR", help="default: ./schema"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files; returns the exit status."""
    directory: Path = args.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in documents().items():
            (directory / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write to {directory}: {error.strerror}") from None
    print(f"{directory}: {len(documents())} files")
    return 0


def documents() -> dict[str, dict[str, Any]]:
    """File name -> content, of everything that is exported."""
    schemas = {
        f"{name}.json": {"$schema": JSON_SCHEMA, "title": name, **adapter.json_schema()}
        for name, adapter in MESSAGES.items()
    }
    return {**schemas, "formats.json": formats()}


def formats() -> dict[str, Any]:
    """The wire formats that are no JSON."""
    unsigned = {"type": "integer", "minimum": 0}
    return {
        "messages": {
            "version": MESSAGE_VERSION,
            "version_of_claim": CLAIM_VERSION,
            "encoding": "UTF-8 JSON; a reader ignores fields it does not know and refuses versions it does not know",
            "max_bytes": MAX_MESSAGE_BYTES,
        },
        "audio_frame": {
            "version": audio.AUDIO_VERSION,
            "encoding": "one msgpack array per NATS message, without headers",
            "fields": [
                {"name": "version", "const": audio.AUDIO_VERSION},
                {"name": "sequence", **unsigned, "description": "counts the frames of this direction from 0"},
                {
                    "name": "first_sample",
                    **unsigned,
                    "description": "position of the first sample since the session's start, at rate; jumps over gaps",
                },
                {
                    "name": "captured_ns",
                    **unsigned,
                    "description": "Unix time, ns, at which the packet with its first sample arrived",
                },
                {"name": "rate", "enum": list(audio.RATES), "description": "Hz"},
                {"name": "flags", **unsigned, "bits": {flag.name: flag.value for flag in audio.FrameFlag}},
                {"name": "generation", **unsigned, "description": "after a flush, frames of older generations drop"},
                {
                    "name": "pcm",
                    "type": "binary",
                    "description": f"signed 16-bit little-endian mono, exactly {audio.FRAME_MS} ms: rate / 50 samples",
                },
            ],
        },
        "tunnel": {
            "encoding": "UDP: the client's address, then its datagram",
            "ipv4": {
                "bytes": tunnel.IPV4_HEADER,
                "layout": [
                    f"family {tunnel.FAMILY_IPV4}: u16 little-endian",
                    "port: u16 big-endian",
                    "address: 4 bytes",
                ],
            },
            "ipv6": {
                "bytes": tunnel.IPV6_HEADER,
                "layout": [
                    f"family {tunnel.FAMILY_IPV6}: u16 little-endian",
                    "port: u16 big-endian",
                    "address: 16 bytes",
                ],
            },
            "tcp_bit": tunnel.TCP_BIT,
            "hello": tunnel.HELLO.hex(),
        },
        "route_token": {
            "encoding": "ICE ufrag: 1 key id + 22 characters of unpadded base64 over one AES-128 block (ECB)",
            "length": route_token.UFRAG_LENGTH,
            "key_ids": route_token.KEY_IDS,
            "fields": [
                {"name": "format", "bits": 4, "const": route_token.FORMAT},
                {"name": "cluster", "bits": 12},
                {"name": "slot", "bits": 16},
                {"name": "epoch", "bits": 16},
                {"name": "session", "bits": 32},
                {"name": "hour", "bits": 16, "description": f"since Unix time {route_token.HOURS_EPOCH}"},
                {"name": "zero", "bits": 32, "const": 0},
            ],
            "bit_order": "big-endian, first field in the highest bits",
            "ice_password": "first 24 characters of base64(HMAC-SHA256(password key, ufrag))",
        },
        "subjects": {name: subject.pattern for name, subject in subjects.SUBJECTS.items()},
        "subject_messages": {
            name: {"publisher": subject.publisher, "message": subject.message, "reply": subject.reply}
            for name, subject in subjects.SUBJECTS.items()
        },
    }
