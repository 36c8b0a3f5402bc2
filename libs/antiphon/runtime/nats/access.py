"""How a process shows NATS who it is: its role, the file with its credential, TLS.

Of the standard library only, until a credential is read: a relay's settings are read before anything else is imported.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from antiphon.runtime.private_file import is_private

if TYPE_CHECKING:
    import ssl

MAX_FILE: Final = 64 << 10
"""Bytes of a credential file. A `.creds` file has about 1 KiB."""
_JWT = re.compile(r"-+BEGIN NATS USER JWT-+\s+(\S+)\s+-+END NATS USER JWT-+")
_SEED_OF_CREDS = re.compile(r"-+BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END USER NKEY SEED-+")
_SEED = re.compile(r"^S[A-Z0-9]+$")
AGENT_INBOXES: Final = "_INBOX_agent"
"""Inboxes of plug-ins are below it, the name as a token of its own: services answer to `_INBOX_agent.*.>`."""
_AGENTS: Final = ("agent", "text_agent", "shadow")
"""Roles of plug-ins."""
REPLY_INBOXES: Final = "_INBOX_reply"
"""`<this>.<agent>.<token>`: where bridges receive the answers of a text agent, which may publish nowhere else."""
PREFIX: Final = "ANTIPHON_NATS"
"""Of the variables for the region's NATS."""
HUB_PREFIX: Final = "ANTIPHON_HUB_NATS"
"""Of those for the hub's."""
FIELDS: Final = ("credentials", "tls_ca", "tls_cert", "tls_key")


def variables(prefix: str = PREFIX) -> dict[str, str]:
    """Field of `Access` -> the variable that sets it."""
    return {field: f"{prefix}_{field.upper()}" for field in FIELDS}


VARIABLES: Final = variables()


class AccessError(ValueError):
    """A credential or TLS file can't be used; the text names variable, file, what is wrong and the way out."""


class Credential(NamedTuple):
    """What a credential file holds."""

    seed: str
    jwt: str
    """Empty: the server knows the user by its public key."""

    def __repr__(self) -> str:
        return "Credential(...)"


class Access(NamedTuple):
    """Who connects, and by what. A value; read once at the start, its files again at each connection."""

    role: str = ""
    """`relay`, `agent`, ...: what `permissions.ROLES` has; empty: none, as for a test or a tool."""
    name: str = ""
    """Of the agent or relay."""
    credentials: Path | None = None
    """A seed of an nkey or a `.creds` file; None: no credential, or the one in the server's address."""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    prefix: str = PREFIX
    """Of the variables that these files are from, for texts."""
    region: str = ""
    """Its inboxes are below this name, so that answers from other regions cross, and those of other regions don't."""

    @property
    def variables(self) -> dict[str, str]:
        """Field -> the variable that sets it."""
        return variables(self.prefix)

    @property
    def who(self) -> str:
        """For texts: `agent echo`, `relay`."""
        return f"agent {self.name}" if self.role in _AGENTS and self.name else self.role or "this process"

    @property
    def inbox_prefix(self) -> str:
        """Replies come below it. One per role, so that no role can be allowed to read another one's."""
        if self.role in _AGENTS and self.name:
            return f"{AGENT_INBOXES}.{self.name}"
        return f"{self.role_inboxes}.{self.region}" if self.role and self.region else self.role_inboxes

    @property
    def role_inboxes(self) -> str:
        """Those of all processes of the role, in all regions, are below it."""
        return f"_INBOX_{self.role}" if self.role else "_INBOX"

    @property
    def register_inbox_prefix(self) -> str:
        """Answers of the services register come below it: what may answer there need not reach other answers."""
        return f"{self.inbox_prefix if self.role in _AGENTS else self.role_inboxes}_register"

    @property
    def uses_tls(self) -> bool:
        """A server without TLS is refused."""
        return self.tls_ca is not None or self.tls_cert is not None

    def check(self) -> None:
        """`AccessError` for the first file that can't be used."""
        if self.credentials is not None:
            self.credential()
        self.tls()

    def credential(self) -> Credential:
        """What is in the file now."""
        assert self.credentials is not None
        return read_credential(self.credentials, self.variables["credentials"])

    def tls(self) -> ssl.SSLContext | None:
        """None: the system's authorities, if the server asks for TLS."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise AccessError(
                f"{self.variables['tls_cert']} and {self.variables['tls_key']} go together: set both or neither"
            )
        if not self.uses_tls:
            return None
        import ssl  # 15 ms that a relay without TLS need not wait for

        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except OSError as error:  # SSLError is one
            raise AccessError(_unusable(self.variables["tls_ca"], self.tls_ca, error)) from None
        if self.tls_cert is not None:
            try:
                context.load_cert_chain(self.tls_cert, self.tls_key)
            except OSError as error:
                text = _unusable(self.variables["tls_cert"], self.tls_cert, error)
                raise AccessError(f"{text} (with {self.variables['tls_key']} {self.tls_key})") from None
        return context


OPEN: Final = Access()
"""No role, no credential, no TLS of its own."""


def from_environment(
    role: str, name: str = "", environment: Mapping[str, str] = os.environ, prefix: str = PREFIX
) -> Access:
    """What the variables say; `AccessError` for files that can't be used. An empty one is not set."""

    def path(field: str) -> Path | None:
        text = environment.get(variables(prefix)[field], "")
        return Path(text) if text else None

    access = Access(role, name, path("credentials"), path("tls_ca"), path("tls_cert"), path("tls_key"), prefix)
    access.check()
    return access


def read_credential(path: Path, variable: str = VARIABLES["credentials"]) -> Credential:
    """The credential in the file, which its owner alone may read. `AccessError` if it can't be used."""
    what = f"{variable} {path}"
    text = _private_text(path, what)
    if not text.strip():
        raise AccessError(f"{what} is empty: make a credential with `antiphon credentials`")
    if "BEGIN NATS USER JWT" in text:
        jwt, seed = _JWT.search(text), _SEED_OF_CREDS.search(text)
        if jwt is None or seed is None:
            raise AccessError(f"{what} is no whole .creds file: it needs a user JWT and the seed of its key")
        found = Credential(seed[1], jwt[1])
    else:
        seeds = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if len(seeds) != 1 or not _SEED.fullmatch(seeds[0]):
            raise AccessError(f"{what} holds neither one nkey seed (SU...) nor a NATS .creds file")
        found = Credential(seeds[0], "")
    from antiphon.runtime.nats import nkeys

    try:
        nkeys.public_key(found.seed)
    except nkeys.NkeyError as error:
        raise AccessError(f"the seed in {what} {error}") from None
    return found


def _private_text(path: Path, what: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO without a writer would block
    except OSError as error:
        raise AccessError(f"{what} can't be read: {error.strerror}") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise AccessError(f"{what} is no file")
    with open(handle, "rb") as file:
        if not is_private(found):
            readable = f"has mode {stat.S_IMODE(found.st_mode):04o}, so others may read or write it"
            raise AccessError(f"{what} {readable}: chmod 0400 {path}, or make a new one if others had it")
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise AccessError(f"{what} is larger than {MAX_FILE} bytes: no credential")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise AccessError(f"{what} holds neither an nkey seed (SU...) nor a NATS .creds file") from None


def _unusable(variable: str, path: Path | None, error: OSError) -> str:
    reason = error.strerror if type(error).__module__ == "builtins" else ""  # SSLError's says nothing to people
    return f"{variable} {path} can't be used: {reason or 'it holds no certificate in PEM'}"
