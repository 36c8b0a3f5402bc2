"""`python -m antiphon.relay [--check]`: runs the relay, or asks whether one on this host answers on the bus."""

from __future__ import annotations

import argparse
import asyncio
import sys

from antiphon.relay.settings import SettingsError, load


def main() -> int:
    """Exit status: 0 after SIGTERM or SIGINT; 2 when the settings can't be used; `--check`: 0 if alive, else 1."""
    arguments = argparse.ArgumentParser(prog="antiphon.relay", description="Moves packets between clients and calls.")
    arguments.add_argument("--check", action="store_true", help="exit 0 if a relay of this host answers on NATS")
    check = arguments.parse_args().check
    if check:
        return _check()
    try:
        settings = load()
    except SettingsError as error:
        print(f"antiphon-relay: {error}", file=sys.stderr)
        return 2

    from antiphon.relay.control import serve
    from antiphon.schemas import telemetry

    finish = telemetry.start("relay")
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        print(f"antiphon-relay: {error.strerror or error}", file=sys.stderr)
        return 2
    finally:
        finish()
    return 0


def _check() -> int:
    import os

    from antiphon.schemas import bus

    url = os.environ.get("ANTIPHON_NATS_URL") or bus.DEFAULT_NATS_URL
    return 0 if asyncio.run(bus.answers_here(url, "antiphon-relay")) else 1


if __name__ == "__main__":
    sys.exit(main())
