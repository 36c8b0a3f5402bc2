"""Calls to the aiortc baseline: the same clients as those of the transceiver, without relay, NATS and agent."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from antiphon.bench._lib.processes import START_SECONDS, process
from antiphon.bench.media.load_clients import Load, LoadClient, recording
from antiphon.cli.call.sdp import Answer
from antiphon.rtc.dtls.certificate import Certificate


class AiortcCalls:
    """A running echo and its clients. Owned by `aiortc_calls`; used from one thread."""

    has_agent = False

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.pid = child.pid
        self.load = Load(self._deliver)
        self._child = child
        self._certificate, self._packets = Certificate(), recording()
        self._waiting: list[tuple[LoadClient, list[tuple[str, int]]]] = []
        """Offers are answered in their order."""
        self._by_source: dict[tuple[str, int], LoadClient] = {}
        self._read = b""
        assert child.stdout is not None
        self._answers = child.stdout.fileno()
        os.set_blocking(self._answers, False)  # the others go on speaking while an answer is made
        self.load.selector.register(self._answers, selectors.EVENT_READ, self._answered)

    def join(self, count: int) -> bool:
        """So many more calls, which speak from then on."""
        assert self._child.stdin is not None
        for _ in range(count):
            where: list[tuple[str, int]] = []
            client = LoadClient(
                self._certificate,
                lambda data, where=where: self.load.socket.sendto(data, where[0]),  # type: ignore[misc]
                self._packets,
                self.load.take_turn,
            )
            self._waiting.append((client, where))
            self.load.add(client)
            self._child.stdin.write(json.dumps({"offer": client.offer()}).encode() + b"\n")
            self._child.stdin.flush()
            if not self.load.run(START_SECONDS, lambda client=client: client.connected):  # type: ignore[misc]
                return False
        return True

    def close(self) -> None:
        self.load.close()

    def _deliver(self, data: bytes, source: tuple[str, int], arrived_ns: int) -> None:
        if source in self._by_source:
            self._by_source[source].receive(data, arrived_ns)

    def _answered(self) -> None:
        data = os.read(self._answers, 1 << 16)
        if not data:
            raise ConnectionError("the process of the aiortc baseline has ended")
        *lines, self._read = (self._read + data).split(b"\n")
        for line in lines:
            client, where = self._waiting.pop(0)
            answer = Answer(json.loads(line)["answer"])
            where.append((answer.candidates[0].host, answer.candidates[0].port))
            self._by_source[where[0]] = client
            client.begin(answer)


@contextmanager
def aiortc_calls(core: int) -> Iterator[AiortcCalls]:
    command = [sys.executable, "-m", "antiphon.bench.media.aiortc_baseline"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with process(command, core, **pipes) as child:
        running = AiortcCalls(child)
        try:
            yield running
        finally:
            running.close()
