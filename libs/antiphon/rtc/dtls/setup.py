"""Drives the handshake of one session: sends what leaves, and reports how it ends. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import DtlsError, DtlsHandshake, Keys
from antiphon.rtc.rtp.srtp_state import SrtpState

UNASKED: Final = (0.05, 0.1, 0.2)
"""Seconds after the end of our handshake, as server, at which our last flight can go out again: nothing answers it."""


class DtlsSetup:
    """From the first authenticated check to the keys. `done` or `failed` is called once, inside a step.

    As client `may_send` is called before: our last flight is out, and the keys to send media are there. Nothing may be
    accepted with them before `done`.

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
        may_send: Callable[[SrtpState, float], None] = lambda keys, now: None,
        unasked: Sequence[float] = (),
    ) -> None:
        """`unasked`: seconds after the end at which our last flight is repeated, until `received_sealed`."""
        self.client = client
        """We are the DTLS client."""
        self._certificate = certificate
        self._fingerprints = fingerprints
        self._send, self._done, self._failed, self._may_send = send, done, failed, may_send
        self._unasked = unasked
        self._handshake: DtlsHandshake | None = None
        self._told_to_send = False
        self._final_flight: list[bytes] = []
        self._repetitions: list[float] = []
        """When the last flight goes out again without being asked for."""
        self._early: list[bytes] = []

    @property
    def running(self) -> bool:
        return self._handshake is not None

    @property
    def idle(self) -> bool:
        """`poll` has nothing to do: the handshake is over, and no repetition of the last flight is left."""
        return self._handshake is None and not self._repetitions

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
        """Repeat what is due; call every 20 ms or so. It costs some 1.5 us where nothing is."""
        if self._handshake is not None:
            if self._handshake.is_due(now):
                self._drive(now, lambda handshake: handshake.poll(now))
        elif self._repetitions and now >= self._repetitions[0]:
            del self._repetitions[0]
            self.repeat_final_flight()

    def take_early(self) -> list[bytes]:
        """Records that came before the keys for them, once: the record layer takes them after `done`."""
        early, self._early = self._early, []
        return early

    def received_sealed(self) -> None:
        """An authentic record of the peer arrived that is no Finished: it has our last flight."""
        self._repetitions.clear()

    def repeat_final_flight(self) -> None:
        """The peer repeats its Finished: it has not received ours."""
        for lost in self._final_flight:
            self._send(lost)

    def close(self) -> None:
        self._handshake = None
        self._final_flight, self._repetitions, self._early = [], [], []

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
            return
        if handshake.send_keys is not None and not self._told_to_send:
            self._told_to_send = True
            self._may_send(handshake.send_keys, now)
        if handshake.keys is not None and self._handshake is not None:
            self._final_flight, self._early = handshake.final_flight, handshake.early
            self._repetitions = [now + after for after in self._unasked] if self._final_flight else []
            self._handshake = None
            self._done(handshake.keys, now)
