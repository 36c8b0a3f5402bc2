"""The last flight of a handshake that we sent, and when it goes out again under fresh record numbers. Sans-IO.

OpenSSL repeats a flight after a second, and nothing within reach makes it sooner. So this class keeps the records that
OpenSSL writes and repeats them itself until OpenSSL writes the next flight (RFC 6347 section 4.2.4). A repetition under
the old numbers would be of no use where the peer's answer was lost: its replay protection, which covers plain records
too, would hide it. So each one is a new record: plain ones get the next number of ours, our Finished is sealed anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from antiphon.rtc.dtls import records
from antiphon.rtc.dtls.record_layer import DtlsRecords, Record
from antiphon.rtc.dtls.state import DtlsState
from antiphon.rtc.path_mtu import MAX_DATAGRAM

PAUSES: Final = (0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0)
"""Seconds before each repetition of a flight, and so the most repetitions. NSS begins with 50 ms as well; RFC 9147
section 5.8.2 allows less than a second where loss is likely and the load small. A peer that is deaf for its first two
seconds is reached before the third. BoringSSL gives up a handshake after 12 repetitions of a Finished."""


class Flight:
    """Owner: a `DtlsHandshake`, from its first record to its end; one thread only."""

    def __init__(self, keys: Callable[[], DtlsState]) -> None:
        """`keys()`: those of epoch 1, which are there as soon as OpenSSL has written our Finished."""
        self.write_sequence = 0
        """The number of the next record of epoch 1."""
        self.again: float | None = None
        """When the next repetition is due."""
        self._keys = keys
        self._next_plain = 0
        self._plain: list[bytes] = []
        self._sealed: list[Record] = []
        """What was in the records of epoch 1, which follow the plain ones."""
        self._known: set[tuple[int, int, int]] = set()
        self._repetitions = 0
        self._writer: DtlsRecords | None = None
        self._opener: DtlsRecords | None = None

    @property
    def finished(self) -> bool:
        """Our Finished is part of the flight."""
        return bool(self._sealed)

    def written(self, data: bytes, now: float) -> list[bytes]:
        """The datagrams to send for what OpenSSL has written. A new flight takes the place of the one before.

        OpenSSL's own timer still runs: after a second it writes the old flight once more, before what is new. Those
        records are known and left out.
        """
        fresh = [record for record in records.split(data) if records.message(record) not in self._known]
        if any(record[0] != records.ALERT for record in fresh):
            self._plain, self._sealed, self._repetitions = [], [], 0
            self._known = {records.message(record) for record in fresh if record[0] != records.ALERT}
            self.again = now + PAUSES[0]
        return records.join([self._new(record) for record in fresh], MAX_DATAGRAM)

    def _new(self, record: bytes) -> bytes:
        if records.epoch(record):
            return self._new_sealed(record)
        if record[0] != records.ALERT:
            self._plain.append(record)
        return self._number(record)

    def _new_sealed(self, record: bytes) -> bytes:
        """OpenSSL counts on from its own number, which a repetition of ours may have used: no number is used twice."""
        writer, opener = self._ciphers()
        for content in opener.open(record):
            if content.kind != records.ALERT:
                self._sealed.append(content)
            if records.sequence(record) < self.write_sequence:
                return self._seal(writer, content)
        self.write_sequence = max(self.write_sequence, records.sequence(record) + 1)
        return record

    def repeat(self, now: float) -> list[bytes]:
        """The datagrams of a repetition, if one is due."""
        if self.again is None or now < self.again:
            return []
        self._repetitions += 1
        self.again = now + PAUSES[self._repetitions] if self._repetitions < len(PAUSES) else None
        flight = [self._number(record) for record in self._plain]
        if self._sealed:
            writer, _ = self._ciphers()
            flight += [self._seal(writer, content) for content in self._sealed]
        return records.join(flight, MAX_DATAGRAM)

    def end(self) -> None:
        """The peer's last flight is there: nothing is repeated any more."""
        self.again = None

    def _number(self, record: bytes) -> bytes:
        self._next_plain += 1
        return records.numbered(record, self._next_plain - 1)

    def _seal(self, writer: DtlsRecords, content: Record) -> bytes:
        writer.state.write_sequence = self.write_sequence
        self.write_sequence += 1
        return writer.seal(content.kind, content.payload)

    def _ciphers(self) -> tuple[DtlsRecords, DtlsRecords]:
        """What seals our records, and what opens them as the peer does."""
        if self._writer is None or self._opener is None:
            keys = self._keys()
            self._writer = DtlsRecords(keys)
            self._opener = DtlsRecords(replace(keys, client=not keys.client, read_highest=-1, read_window=0))
        return self._writer, self._opener
