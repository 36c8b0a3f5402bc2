"""Which messages of a connection are dropped or emptied, because NATS sends them for another client."""

from __future__ import annotations

import logging

from nats.aio.subscription import Subscription

from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats import forwarded
from antiphon.runtime.nats.access import REPLY_INBOXES, Access

log = logging.getLogger(__name__)


class ForwardedFilter:
    """Decides for each message, and counts. Owner: a `BusClient`, for its life; called by its reading task."""

    def __init__(self, access: Access) -> None:
        self.refused_messages = 0
        """Messages that were dropped, and values that were emptied."""
        self._own_inboxes = f"{access.inbox_prefix}.", f"{access.register_inbox_prefix}.", f"{REPLY_INBOXES}."
        self._log = BoundedLog(log)

    def drops(self, subscription: Subscription | None, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        """Whether a message is to be dropped: NATS sends it for another client, or its answer would go to no inbox.

        A client may name any subject for the messages of its consumer, or as the reply of a read: NATS checks no
        permission there, and would publish what that client has stored. Ours come to inboxes alone. And it may name any
        reply in its requests to us, whose answer NATS would allow for our rights.
        """
        if subscription is None or subscription.subject.startswith(self._own_inboxes):
            return False
        if forwarded.is_forwarded(reply, data, headers):
            self._refused(f"a message for {subscription.subject} came from a store, not from a publisher: dropped")
        elif reply and not forwarded.is_inbox(reply):
            where = f"{reply[:80].decode(errors='replace')}, not below _INBOX"
            self._refused(f"a request on {subscription.subject} asks for an answer on {where}: dropped")
        else:
            return False
        return True

    def emptied(self, subject: bytes, reply: bytes, headers: bytes) -> bytes | None:
        """The headers of a value that NATS wrote for another client, which is read as empty; None: it is genuine."""
        if not headers or not forwarded.is_forged_value(reply, headers):
            return None
        place = forwarded.headers_of_read(reply, headers)
        key = forwarded.key_of_read(place) or subject
        self._refused(f"{key.decode(errors='replace')} was written by NATS for another client: it is not read")
        return place

    def _refused(self, text: str) -> None:
        self.refused_messages += 1
        self._log.warning(f"nats: {text}")
