"""Keys and credentials of a stack as Secrets of Kubernetes: makes those that are missing, and keeps all others.

    python -m antiphon.runtime.nats.kubernetes_secrets NAME [--relay "*"] [--cluster NUMBER] [--bridge AGENT]

    NAME-route-keys, NAME-password-key, NAME-secret-key   what `antiphon keys` writes to files
    NAME-nats-<user>                                      `nkey`: the seed of a user of NATS
    NAME-nats-users                                       `users.json`, and `users.conf` for the server

The chart runs it before an installation and before each upgrade, with an account that may read and write Secrets of its
namespace. It asks the API server at the address that every pod is given; nothing else of Kubernetes is used.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Users, UsersError, add_arguments, wanted

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PATIENCE: Final = 10.0
"""Seconds for one answer of the API server."""
MAX_ANSWER: Final = 4 << 20
"""Bytes; a Secret has at most 1 MiB."""
Data = Mapping[str, str]

KEYS: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "route-keys": ("keys", lambda: f"A:{secrets.token_hex(16)}"),
    "password-key": ("key", lambda: secrets.token_hex(32)),
    "secret-key": ("key", lambda: secrets.token_hex(32)),
}
"""Behind NAME -> the entry of the Secret, and a fresh key as its variable takes it (`antiphon.cli.keys`)."""


class Store(Protocol):
    """Secrets by name."""

    def read(self, name: str) -> Data | None: ...
    def write(self, name: str, data: Data) -> None: ...


class ApiError(Exception):
    """The API server refuses, or does not answer; the text says what was asked."""


class ApiStore:
    """The Secrets of a namespace, by the API server. Owned by `main`."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext, namespace: str, labels: Data) -> None:
        self._url = f"{url}/api/v1/namespaces/{namespace}/secrets"
        self._token, self._context, self._labels = token, context, dict(labels)

    @classmethod
    def of_pod(cls, labels: Data, account: Path = ACCOUNT) -> ApiStore:
        """By the account of this pod; `ApiError` outside of one."""
        try:
            host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
            token = (account / "token").read_text().strip()
            namespace = (account / "namespace").read_text().strip()
            context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        except (KeyError, OSError) as error:
            raise ApiError(f"this is no pod with an account of Kubernetes: {error}") from None
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", token, context, namespace, labels)

    def read(self, name: str) -> Data | None:
        """What the Secret holds; None if there is none."""
        found = self._ask("GET", f"/{name}", absent=True)
        return None if found is None else {key: _text(value) for key, value in (found.get("data") or {}).items()}

    def write(self, name: str, data: Data) -> None:
        """Make the Secret, or put these entries in place of its own."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": self._labels},
            "type": "Opaque",
            "stringData": dict(data),
        }
        if self._ask("PATCH", f"/{name}", {"stringData": dict(data)}, absent=True) is None:
            self._ask("POST", "", body)

    def _ask(self, method: str, path: str, body: object = None, absent: bool = False) -> dict[str, Any] | None:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self._url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": kind},
            method=method,
        )
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=PATIENCE) as answer:
                found: dict[str, Any] = json.loads(answer.read(MAX_ANSWER))
                return found
        except urllib.error.HTTPError as error:
            if error.code == 404 and absent:
                return None
            why = error.read(2000).decode(errors="replace")
            raise ApiError(f"{method} of the Secret{path and ' '}{path[1:]}: {error.code} {why}") from None
        except (OSError, ValueError) as error:
            raise ApiError(f"{method} of the Secret{path and ' '}{path[1:]}: {error}") from None


def complete(store: Store, name: str, users: Sequence[User]) -> list[str]:
    """Make what is missing; returns the names of the Secrets that were written. `UsersError` as `Users`.

    The server's file is written last: if this breaks off, it is the same as before, and the next run begins anew.
    """
    written: list[str] = []
    titles: dict[str, str] = {}
    for user in users:
        if titles.setdefault(_seed(name, user), user.title) != user.title:
            raise UsersError(f"{user.title} and {titles[_seed(name, user)]} would share one Secret: rename one of them")
    for suffix, (entry, fresh) in KEYS.items():
        if not (store.read(f"{name}-{suffix}") or {}).get(entry):
            store.write(f"{name}-{suffix}", {entry: fresh()})
            written.append(f"{name}-{suffix}")
    before = store.read(f"{name}-nats-users") or {}
    with tempfile.TemporaryDirectory() as scratch:
        directory = Users(Path(scratch))
        if before.get("users.json"):
            (directory.directory / "users.json").write_text(before["users.json"])
        lost = [each.user for each in directory.all() if not (store.read(_seed(name, each.user)) or {}).get("nkey")]
        for user in lost:  # its Secret was deleted: whoever has it now is no longer let in
            directory.remove(user.title)
        for user in directory.add([*users, *lost]):
            store.write(_seed(name, user), {"nkey": directory.seed_file(user).read_text()})
            written.append(_seed(name, user))
        after = {each: (directory.directory / each).read_text() for each in ("users.json", "users.conf")}
        if after != {each: before.get(each) for each in after}:
            store.write(f"{name}-nats-users", after)
            written.append(f"{name}-nats-users")
    return written


def _seed(name: str, user: User) -> str:
    return f"{name}-nats-{user.title.lower().replace('_', '-')}"


def _text(value: str) -> str:
    return base64.b64decode(value).decode(errors="replace")


def main() -> int:
    """The exit status: 0, 1 to be tried again, 2 for names that can't be used."""
    parser = argparse.ArgumentParser(description="Make the keys and credentials of a stack as Secrets of Kubernetes.")
    parser.add_argument("name", help="what the names of all Secrets begin with")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="of each new Secret")
    add_arguments(parser, with_directory=False)
    args = parser.parse_args()
    labels = dict(each.split("=", 1) for each in args.label)
    try:
        for each in complete(ApiStore.of_pod(labels), args.name, wanted(args)) or ["nothing"]:
            print(f"written: {each}", flush=True)
    except UsersError as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 2
    except ApiError as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
