"""One instance of a text agent as a process: plain NATS, for tests that pause or kill it in the middle of an answer.

    python -m support.processes.text_agent NATS_URL AGENT WORD [SECONDS]

It answers each turn with `WORD 0 WORD 1 ...`, a part each SECONDS, without an end; where the request has a `said`, with
`and on.` and the end. Standard output has a line for each request, and `stopped` where nobody receives the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from nats.aio.msg import Msg

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects

QUEUE = "text-agents"


async def serve(url: str, agent: str, word: str, pause: float) -> None:
    """Until it is killed."""
    client = await connection.connect(url, "test")
    jobs: dict[str, asyncio.Task[None]] = {}
    inbox = client.new_inbox()

    async def answer(to: str, name: str, request: messages.ReplyRequest) -> None:
        async def send(part: messages.AnyReplyPart) -> None:
            await client.publish(to, messages.encode(part), reply=name)

        await send(messages.ReplyAlive())
        if request.said:
            await send(messages.ReplyText(number=0, text="and on."))
            await send(messages.ReplyEnd(number=1))
            return
        for number in itertools.count():
            await send(messages.ReplyText(number=number, text=f"{word} {number} "))
            await asyncio.sleep(pause)

    async def on_request(message: Msg) -> None:
        request = messages.decode(message.data, messages.ReplyRequest)
        print(request.event, request.turn, flush=True)
        if message.reply:
            name = f"{inbox}.{len(jobs)}"
            jobs[name] = asyncio.create_task(answer(message.reply, name, request))

    async def on_undelivered(message: Msg) -> None:
        job = jobs.get(message.subject)
        if job is not None and not job.done():
            job.cancel()
            print("stopped", flush=True)

    await client.subscribe(f"{inbox}.*", cb=on_undelivered)
    await client.subscribe(subjects.agent_reply(agent), queue=QUEUE, cb=on_request)
    await connection.flush(client)
    print("ready", flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def instance(url: str, agent: str, word: str, pause: float = 0.1) -> Iterator[subprocess.Popen[str]]:
    """One that is ready; killed at the end."""
    command = [sys.executable, "-m", "support.processes.text_agent", url, agent, word, str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
