"""An operator's request to one process, by its service and its id in the register: stop as on SIGTERM.

NATS lets operators and signaling ask (`permissions`), and no agent. The answer leaves before the process begins to
stop. A second request changes nothing, unlike a second signal: two operators who drain one process want one drain.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects

log = logging.getLogger(__name__)


async def listen(client: Client, service: str, instance: str, stop: Callable[[], None]) -> Subscription:
    """Call `stop()` once, when this entry of the register is asked to drain; until the subscription ends.

    `service`, `instance`: its name and its id in the register. `stop` does what SIGTERM does, and returns at once.
    """
    asked = False

    async def requested(message: Msg) -> None:
        nonlocal asked
        try:
            messages.decode(message.data, messages.Drain)
        except MalformedError as error:
            reply = messages.ControlReply(ok=False, message=str(error))
        else:
            reply = messages.ControlReply(ok=True, message="is draining already" if asked else "")
        with contextlib.suppress(*BUS_ERRORS):
            if message.reply:
                await message.respond(messages.encode(reply))
                await client.flush(timeout=1)
        if reply.ok and not asked:
            asked = True
            log.info("an operator drains this process")
            stop()

    return await client.subscribe(subjects.process_drain(service, instance), cb=requested)
