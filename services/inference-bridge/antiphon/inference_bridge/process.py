"""The life of a bridge process: models, NATS, the bridge, then calls until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from antiphon.inference_bridge.agents.chat_check import Trouble
from antiphon.inference_bridge.agents.scripted import load_agent_class
from antiphon.inference_bridge.dispatch.bridge import Bridge
from antiphon.inference_bridge.dispatch.local_models import load_local_models
from antiphon.inference_bridge.dispatch.speech_support_of import speech_support
from antiphon.inference_bridge.file_agents.file_agents import FileAgents
from antiphon.inference_bridge.models.local import own_voice_language
from antiphon.inference_bridge.models.measured import WaitsOfModel
from antiphon.inference_bridge.models.threads import ModelThreads, Urgency
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.unless_stopped import Stopped, unless_stopped
from antiphon.runtime.loop_watchdog import LoopWatchdog
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.health import DRAINING
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import connection

log = logging.getLogger(__name__)

_END_WITHIN: Final = 1.5
STANDSTILL_SECONDS: Final = 10.0
"""Another bridge takes the calls after one second without a beat; this ends the process that no longer reacts."""


async def run(settings: Settings, metrics: MetricsSettings) -> None:
    """Serve until SIGTERM or SIGINT. Models are ready before the first claim can come.

    `ModelError`, `AgentNameError` and `SpeechSettingsError` for settings that can't be used.
    """
    speech_support(settings, own_voice_language(settings))  # settings that contradict end here, not after the loading
    scripted_agent = load_agent_class(settings.scripted_agent) if settings.scripted_agent else None
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # in a worker, because the threads that the models' libraries start inherit its low priority
    loader = ModelThreads(1, 1)
    shown = MetricsService("inference-bridge", metrics, name=settings.agent_name)
    try:
        try:
            models = await unless_stopped(stop, loader.submit(partial(load_local_models, settings), Urgency.NOW).future)
        finally:
            loader.close()
        connecting = connection.connect(settings.nats_url, "antiphon-inference-bridge", settings.nats_access())
        client = await unless_stopped(stop, connecting)
        await shown.start(lambda: client)

        def file_agents(waits: WaitsOfModel, told: Callable[[Mapping[str, str]], None]) -> FileAgents:
            assert settings.agents_dir is not None
            return FileAgents(settings.agents_dir, client, settings, shown.metrics, waits=waits, on_trouble=told)

        from_files = file_agents if settings.agents_dir is not None else None
        bridge = Bridge(client, models, settings, scripted_agent, shown.metrics, shown.metadata(), from_files)
        await unless_stopped(stop, bridge.start())
        trouble = await unless_stopped(stop, bridge.chat_server_trouble())
    except Stopped:
        return
    await bridge.join(stop.set)
    shown.started(lambda: _failing(stop.is_set(), client.is_connected))
    _tell_ready(settings, trouble)
    watchdog = LoopWatchdog("inference-bridge", STANDSTILL_SECONDS)
    watchdog.start()
    await stop.wait()
    watchdog.stop()
    log.info("stopping")
    try:
        async with asyncio.timeout(_END_WITHIN):
            await bridge.close()
            await shown.close()
            await client.close()
    except TimeoutError:
        log.warning("some calls did not end in time")


def _failing(stopping: bool, connected: bool) -> dict[str, str]:
    """Why this process would take no call now."""
    if stopping:
        return DRAINING
    return {} if connected else {"nats": "not connected"}


def _tell_ready(settings: Settings, trouble: Trouble | None) -> None:
    if settings.llm == "remote":
        answers = "a language model of the workers"
    elif settings.llm_url:
        answers = f"{settings.llm_model} at {settings.llm_url}"
    elif settings.scripted_agent:
        answers = f"{settings.scripted_agent}, a scripted agent"
    else:
        log.info("ready: text agents%s are served as they come", " and those of files" * bool(settings.agents_dir))
        return
    if trouble:
        what, fix = trouble.what, trouble.fix
        log.warning("agent %s takes calls but can only apologise: %s: %s. %s", settings.agent_name, answers, what, fix)
    else:
        log.info("ready: agent %s is %s", settings.agent_name, answers)
