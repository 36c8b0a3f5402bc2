"""Webhooks as the specification Standard Webhooks has them: headers, signature, body. Pure.

<https://www.standardwebhooks.com>: so the libraries that receivers have for it verify ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from antiphon.schemas import messages

PREFIX: Final = "whsec_"
MIN_SECRET: Final = 24
MAX_SECRET: Final = 64
"""Bytes of a secret, as the specification has them."""
MAX_SECRETS: Final = 2
"""The new one, and the old one until all receivers have the new one."""


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The keys of one or two secrets, comma separated, the newest first; ValueError never names the value."""
    given = [each.strip() for each in text.split(",") if each.strip()]
    if not 0 < len(given) <= MAX_SECRETS:
        raise ValueError(f"{len(given)} secrets: give one, or two while they are changed")
    keys = []
    for each in given:
        try:
            key = base64.b64decode(each.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not each.startswith(PREFIX) or not MIN_SECRET <= len(key) <= MAX_SECRET:
            raise ValueError(
                f"a secret is {PREFIX} and the base64 of {MIN_SECRET} to {MAX_SECRET} bytes: "
                f'make one with `echo "{PREFIX}$(openssl rand -base64 32)"`'
            )
        keys.append(key)
    return tuple(keys)


def body_of(webhook: messages.Webhook) -> bytes:
    """The JSON that a receiver gets; the same in every repetition."""
    at = datetime.fromtimestamp(webhook.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"call": webhook.call.model_dump(mode="json", exclude_none=True)}
    more = {"reason": webhook.reason, "cause": webhook.cause} if webhook.reason is not None else {}
    if webhook.type == "call.person_asked":
        more = {"summary": webhook.summary}
    return json.dumps({"type": webhook.type, "timestamp": at, "data": data | more}, ensure_ascii=False).encode()


def headers_of(webhook_id: str, body: bytes, keys: Sequence[bytes], unix_time: float) -> dict[str, str]:
    """`unix_time`: of this attempt; receivers refuse one that is minutes old."""
    signed = b"%b.%d.%b" % (webhook_id.encode(), int(unix_time), body)
    signatures = [f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}" for key in keys]
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(unix_time)),
        "webhook-signature": " ".join(signatures),
    }
