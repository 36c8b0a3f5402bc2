"""Drives the handshake of one session: sends what leaves, and reports how it ends. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import DtlsError, DtlsHandshake, Keys


class DtlsSetup:
    """From the first authenticated check to the keys. `done` or `failed` is called once, inside a step.

    Owner: a session or a client, which calls it on one thread only and keeps it after the handshake, for
    `repeat_final_flight`, until `close`.
    """

    def __init__(
        self,
        certificate: Certificate | None,
        fingerprints: list[tuple[str, str]],
        client: bool,
        send: Callable[[bytes], None],
        done: Callable[[Keys, float], None],
        failed: Callable[[str, float], None],
    ) -> None:
        self.client = client
        """We are the DTLS client."""
        self._certificate = certificate
        self._fingerprints = fingerprints
        self._send, self._done, self._failed = send, done, failed
        self._handshake: DtlsHandshake | None = None
        self._final_flight: list[bytes] = []

    @property
    def running(self) -> bool:
        return self._handshake is not None

    def begin(self, now: float) -> None:
        """Make the OpenSSL object; `start` follows where we are the client."""
        if self._certificate is None:
            raise RuntimeError("a handshake was begun in a session that had finished it in another process")
        self._handshake = DtlsHandshake(self._certificate, self._fingerprints, self.client, now)

    def start(self, now: float) -> None:
        self._drive(now, lambda handshake: handshake.start(now))

    def receive(self, datagram: bytes, now: float) -> None:
        self._drive(now, lambda handshake: handshake.receive(datagram, now))

    def poll(self, now: float) -> None:
        """Retransmit what is due."""
        self._drive(now, lambda handshake: handshake.poll(now))

    def repeat_final_flight(self) -> None:
        """The peer repeats its Finished: it has not received ours."""
        for lost in self._final_flight:
            self._send(lost)

    def close(self) -> None:
        self._handshake = None
        self._final_flight = []

    def _drive(self, now: float, step: Callable[[DtlsHandshake], None]) -> None:
        handshake = self._handshake
        if handshake is None:
            return
        failure = None
        try:
            step(handshake)
        except DtlsError as error:
            failure = str(error)
        for datagram in handshake.outgoing():
            self._send(datagram)
        if failure is not None:
            self._handshake = None
            self._failed(failure, now)
        elif handshake.keys is not None:
            self._final_flight = handshake.final_flight
            self._handshake = None
            self._done(handshake.keys, now)
