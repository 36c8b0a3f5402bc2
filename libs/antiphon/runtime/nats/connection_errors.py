"""What goes wrong on a connection to NATS, each with a text that names the setting, the file and the way out."""

from __future__ import annotations

import re
import ssl
from typing import Final

from nats import errors

from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.liveness import Verdict

_REFUSED: Final = re.compile(r"permissions violation for (subscription|publish) to \"([^\"]*)\"", re.IGNORECASE)


class SilentServerError(errors.StaleConnectionError):
    """The server, or the network on the way to it, does not answer."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def __str__(self) -> str:
        return f"nats: {self._verdict.value}, the connection is closed"


class EndedTaskError(errors.Error):
    """A task of the connection has ended although the connection is in use."""

    def __str__(self) -> str:
        return "nats: the connection is no longer read, written or watched"


class GreetingError(errors.Error):
    """The server does not greet as a NATS server does."""


class CredentialError(errors.AuthorizationError):
    """The credential can't be used, or the server refuses it; the text names the file and the way out."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return f"nats: {self._text}"


class NoTlsError(errors.Error):
    """TLS is set, and the server offers none."""

    def __str__(self) -> str:
        return "nats: the server offers no TLS, but the settings ask for it: nothing was sent"


class ServerCertificateError(errors.Error):
    """TLS with the server fails; the text names the file with the authority and the way out."""

    def __init__(self, access: Access, error: ssl.SSLError) -> None:
        self._access, self._error = access, error

    def __str__(self) -> str:
        reason = getattr(self._error, "verify_message", "") or self._error.reason or "TLS fails"
        variable = self._access.variables["tls_ca"]
        authority = f"{variable} {self._access.tls_ca}" if self._access.tls_ca else "the system's authorities"
        way_out = "name the authority of its certificate" if self._access.tls_ca else f"set {variable}"
        return f"nats: the server is not trusted: {reason.lower()}, by {authority}: {way_out}"


class RefusedError(errors.Error):
    """The server does not allow a subject."""

    def __init__(self, who: str, verb: str, subject: str) -> None:
        self.verb, self.subject = verb, subject
        """`publish` or `subscribe`."""
        self._who = who

    def __str__(self) -> str:
        return f"the credential of {self._who} may not {self.verb} {self.subject}"


def refusal(access: Access, user_in_address: bool) -> CredentialError:
    """Why the server may have refused us, and the way out."""
    if access.credentials is not None:
        return CredentialError(
            f"the server refuses the credential of {access.who}, {access.credentials}: it was revoked, or is of "
            "another server, or the server has not read its users anew (`antiphon agents list`)"
        )
    if user_in_address:
        return CredentialError(f"the server refuses the user in the address of {access.who}")
    made_by = {
        "agent": f"antiphon agents add {access.name}",
        "text_agent": f"antiphon agents add {access.name} --kind text",
    }.get(access.role, "antiphon credentials")
    variable = access.variables["credentials"]
    return CredentialError(
        f"the server asks for a credential, and {access.who} has none: set {variable} to its file "
        f"(`{made_by}` makes one)"
    )


def refused_subject(who: str, text: str) -> RefusedError | None:
    """What the server's error says is not allowed; None: the error is no refusal."""
    match = _REFUSED.search(text)
    if match is None:
        return None
    return RefusedError(who, "publish" if match[1].lower() == "publish" else "subscribe", match[2])
