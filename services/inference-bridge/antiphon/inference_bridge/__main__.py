"""`python -m antiphon.inference_bridge [--check | --worker stt|tts|llm]`"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import nats.errors
from pydantic import ValidationError

from antiphon.inference_bridge.settings import Settings, what_is_wrong
from antiphon.runtime import telemetry
from antiphon.runtime.metrics import load_or_exit
from antiphon.runtime.nats import connection, service_discovery
from antiphon.runtime.nats.access import AccessError, from_environment
from antiphon.runtime.nats.server_url import without_password


def load_settings() -> Settings:
    """The settings; exits with status 2 and one line that names the variable."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise SystemExit(_bad(what_is_wrong(error))) from None
    if bool(settings.llm_url) != bool(settings.llm_model):
        raise SystemExit(_bad("ANTIPHON_LLM_URL and ANTIPHON_LLM_MODEL go together: set both or neither"))
    return settings


def _bad(message: str) -> int:
    print(f"antiphon-inference-bridge: {message}", file=sys.stderr)
    return 2


def _check() -> int:
    url = os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL
    try:
        access = from_environment("bridge")
    except AccessError as error:
        return _bad(str(error))
    return 0 if asyncio.run(service_discovery.answers_here(url, service_discovery.AGENT_SERVICE, access)) else 1


def main() -> int:
    """Serve until the end; the exit status: 0, 1 to be started again, 2 for settings that can't be used."""
    parser = argparse.ArgumentParser(
        prog="python -m antiphon.inference_bridge", description="Takes calls for an agent."
    )
    parser.add_argument("--check", action="store_true", help="exit 0 if a bridge of this host answers on NATS")
    parser.add_argument(
        "--worker", choices=("stt", "tts", "llm"), help="serve one model to other bridges instead of calls"
    )
    arguments = parser.parse_args()
    if arguments.check:
        return _check()
    settings = load_settings()
    if arguments.worker == "llm" and not settings.llm_url:
        return _bad("--worker llm needs ANTIPHON_LLM_URL and ANTIPHON_LLM_MODEL")
    if arguments.worker == "stt" and settings.stt_url:
        return _bad("--worker stt serves a model of its own process: unset ANTIPHON_STT_URL, or set it for the bridge")
    if arguments.worker == "tts" and settings.tts_url:
        return _bad("--worker tts serves voices of its own process: unset ANTIPHON_TTS_URL, or set it for the bridge")
    metrics = load_or_exit("worker" if arguments.worker else "inference-bridge")
    finish = telemetry.start(f"worker-{arguments.worker}" if arguments.worker else "inference-bridge")
    # the models' libraries take a second to import: bad settings are reported before that
    from antiphon.inference_bridge.agents.scripted import AgentNameError
    from antiphon.inference_bridge.dispatch.speech_support_of import SpeechSettingsError, speech_support
    from antiphon.inference_bridge.models.local import own_voice_language
    from antiphon.inference_bridge.models.remote.worker import run as run_worker
    from antiphon.inference_bridge.models.sources import ModelError
    from antiphon.inference_bridge.process import run

    try:
        if arguments.worker == "tts":
            speech_support(settings, own_voice_language(settings))
        asyncio.run(run_worker(settings, arguments.worker, metrics) if arguments.worker else run(settings, metrics))
    except (ModelError, AgentNameError, SpeechSettingsError) as error:
        return _bad(str(error))
    except connection.RefusedError as error:
        return _bad(f"{error} (ANTIPHON_NATS_CREDENTIALS, ANTIPHON_AGENT_NAME)")
    except (nats.errors.Error, TimeoutError) as error:
        url = without_password(settings.nats_url)
        _bad(f"NATS at {url} failed while this process started: {error or type(error).__name__}")
        return 1  # to be started again
    except OSError as error:
        return _bad(f"{without_password(settings.nats_url)}: {error}")
    finally:
        finish()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # a model may still run on a thread: its result is not needed, so the process does not wait for it
    os._exit(status)
