"""Authentication: the Authorization header, read once into a typed value.

While an address is blocked for its failures, credentials that can't be guessed (client secrets, strong keys) are
accepted all the same: a block slows guesses down and locks out nobody else behind the same address. A key of a plain
list that may be guessed waits for the end of the block.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection

from antiphon.runtime.api_keys import ApiKey, Scope
from antiphon.schemas.messages import ANY_CREATOR
from antiphon.signaling.auth import operator_session
from antiphon.signaling.auth.client_secret import PREFIX, ClientSecret, SecretError, SecretSigner, fixed, locked_paths
from antiphon.signaling.auth.key_ring import KeyRing
from antiphon.signaling.http.errors import ApiError, too_many
from antiphon.signaling.limits.limits import ClientAddress, Limits


class Caller(NamedTuple):
    """A client that may call. A value, made for one request."""

    address: ClientAddress
    key: ApiKey | None = None
    """The API key that it has, or that made its secret; None where no keys are set."""
    secret: ClientSecret | None = None

    @property
    def server(self) -> bool:
        """The client has an API key, or none is needed: it is no browser with a secret."""
        return self.secret is None or self.key is None

    @property
    def settings(self) -> dict[str, Any]:
        """The session settings that its secret fixes; empty for others."""
        return {} if self.secret is None else self.secret.settings

    @property
    def locked(self) -> list[str]:
        """Their paths: `OpenRequest.locked`."""
        return locked_paths(self.settings)

    def session(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The session settings of its call, where it asks for these."""
        return fixed(asked, self.settings)

    @property
    def creator(self) -> str:
        """In whose name its calls are made: `OpenRequest.creator`."""
        if self.key is None:
            return ""
        return self.key.creator if self.secret is None else self.secret.creator

    @property
    def manages(self) -> str:
        """In whose name it hangs up, restarts and attaches: what `messages.may_manage` takes as `asker`."""
        if self.key is not None and self.secret is None and "calls.manage" in self.key.scopes:
            return ANY_CREATOR
        return self.creator

    @property
    def counted_as(self) -> str:
        """Whose half-open sessions its calls are: `OpenRequest.caller`. A server calls for many, a browser for one."""
        if self.key is not None and self.secret is None:
            return f"k-{self.key.creator}"
        return f"a-{self.address.name}"

    def need(self, *scopes: Scope) -> None:
        """`ApiError` 403 unless its API key has one of the scopes. What a secret may do, its kind decides."""
        if self.key is not None and self.secret is None and self.key.scopes.isdisjoint(scopes):
            text = f"API key {self.key.id} has not the scope {' or '.join(scopes)}, which this takes"
            raise ApiError(403, "missing_scope", text)


class Authenticator:
    """Reads who calls.

    Made by `create_app` and kept as long as the application; handlers call it on the event loop.
    """

    def __init__(self, ring: KeyRing, signer: SecretSigner, limits: Limits) -> None:
        self.ring, self.signer, self.limits = ring, signer, limits

    def caller_of(self, connection: HTTPConnection, authorization: str | None = None) -> Caller:
        """The caller of this request or WebSocket; `ApiError` 401, 403 or 429.

        `authorization`: in place of the header of this name.
        """
        address = self.limits.address(connection.client.host if connection.client is not None else None)
        self.limits.admit_request(address)
        if authorization is None:
            authorization = connection.headers.get("authorization", "")
            if not authorization and (key := self._key_of_session(connection)) is not None:
                self.limits.admit_key(key)
                return Caller(address, key)
        caller = self._caller(authorization, address)
        if caller.key is not None:
            self.limits.admit_key(caller.key)
        if caller.secret is not None and caller.secret.origin:
            _check_origin(caller.secret.origin, connection.headers.get("origin", ""))
        return caller

    def _key_of_session(self, connection: HTTPConnection) -> ApiKey | None:
        """The operator's key that the cookie of the console stands for."""
        cookie = operator_session.cookie_of(connection)
        if not cookie or self.ring.open:
            return None
        return operator_session.read(cookie, self.signer, self.ring.table, time.time())

    def _caller(self, authorization: str, address: ClientAddress) -> Caller:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if self.ring.open:
            return Caller(address, secret=self._secret_if_any(token))
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("missing_api_key", "this server asks for a key: send Authorization: Bearer KEY")
        now = time.time()
        blocked = self.limits.blocked(address)
        key = self.ring.table.find(token, now)  # nothing forbids an API key that looks like a secret
        if key is not None and not (blocked and key.weak):
            return Caller(address, key)
        refusal = _unauthorized("invalid_api_key", "this key is none of this server's keys")
        if token.startswith(PREFIX):
            try:
                secret = self.signer.read(token, self.ring.table, now)
                if secret.key is not None:
                    return Caller(address, secret.key, secret)
                refusal = _unauthorized("invalid_api_key", "this ek_ secret was made while no API keys were set")
            except SecretError as error:
                refusal = _unauthorized(error.code, str(error))
        if blocked:
            raise too_many("too many credentials from this address were none of this server's", blocked, _FAILURES)
        self.limits.failed(address)
        raise refusal

    def _secret_if_any(self, token: str) -> ClientSecret | None:
        """Without keys every token is accepted. One that was made for another server has no settings for us."""
        try:
            secret = self.signer.read(token, self.ring.table, time.time())
        except SecretError:
            return None
        return secret if secret.key is None and time.time() < secret.expires_at else None


_FAILURES = "too_many_failures"


def _check_origin(wanted: str, origin: str) -> None:
    if origin.lower() != wanted:
        text = f"this ek_ secret is for pages of {wanted}, and the request's Origin is {origin or 'missing'!r:.80}"
        raise ApiError(403, "foreign_origin", text)


def _unauthorized(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
