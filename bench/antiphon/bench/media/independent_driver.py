"""The transceiver under steady speech, measured by a program that shares no code with `antiphon bench transceiver`.

It imports nothing of Antiphon; `antiphon bench` hands it its arguments and no more. For each number of sessions a NATS
server and `python -m antiphon.transceiver` are started, all sessions join, then all speak; after 3 s one window is
measured, and one line of JSON has its statistics. The definitions are those of the bench (lateness: against the
stream's timestamps, laid where its most punctual twentieth arrived; a pair: a packet in and one out), the code is not:
wire formats are written out here, DTLS is pyOpenSSL, SRTP pylibsrtp, Opus PyAV. Its agent is no echo: it plays a
prerecorded sound by its own clock, 100 ms ahead. The transceiver has the last core to itself, all else the first.
"""

from __future__ import annotations

import argparse
import binascii
import contextlib
import datetime
import gc
import heapq
import hmac
import json
import math
import os
import random
import secrets
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import msgpack
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from pylibsrtp import Policy, Session

RATE = 24000
FRAME = RATE // 50
SECONDS_OF_SOUND = 3
AHEAD = 5
SETTLE = 3.0
TIMESTAMPNS = 35


def sound() -> list[bytes]:
    """Frames of s16le: harmonics of a wandering pitch, in syllables, with noise."""
    draw, phase, samples = random.Random(11), 0.0, []
    for at in range(RATE * SECONDS_OF_SOUND):
        now = at / RATE
        phase += 2 * math.pi * (130 + 25 * math.sin(4 * now)) / RATE
        loud = min(1.0, max(0.0, math.sin(20 * now) + 0.4))
        voice = sum(math.sin(phase * n) / n for n in range(1, 16)) * 0.3
        samples.append(int(9000 * loud * (voice + draw.gauss(0, 0.05))))
    return [struct.pack(f"<{FRAME}h", *samples[at : at + FRAME]) for at in range(0, len(samples), FRAME)]


def opus_packets(frames: list[bytes]) -> list[bytes]:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "mono", "s16", 32000
    encoder.options = {"application": "audio", "frame_duration": "20", "compression_level": "5"}
    packets = []
    for number, pcm in enumerate(frames):
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, number * FRAME
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


class Tls:
    """A certificate and the context of all clients."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "driver")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(1))
        certificate = builder.not_valid_after(now + datetime.timedelta(1)).sign(key, hashes.SHA256())
        self.fingerprint = ":".join(f"{octet:02X}" for octet in certificate.fingerprint(hashes.SHA256()))
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
        self.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)


class Caller:
    """One session, both of its ends."""

    def __init__(self, number: int, tls: Tls) -> None:
        self.number = number
        self.header = struct.pack("<H", 2) + struct.pack(">H", 2000 + number) + bytes([198, 51, 100, 1])
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)
        self.remote_ufrag = self.remote_password = self.session = ""
        self.tls = SSL.Connection(tls.context, None)
        self.tls.set_ciphertext_mtu(1200)
        self.tls.set_accept_state()
        self.srtp: Session | None = None
        self.ssrc, self.sequence, self.timestamp = secrets.randbits(31), secrets.randbits(15), secrets.randbits(31)
        self.sent: list[int] = []
        self.driver_late: list[float] = []
        self.came: list[tuple[int, int]] = []
        self.made: list[tuple[int, int, int]] = []
        """(first sample, flags, when it was read) of frames to the agent."""

    def offer(self, fingerprint: str) -> str:
        return "\r\n".join(
            [
                f"v=0\r\no=- {self.number + 1} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a",
                "m=audio 9 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=sendrecv\r\na=rtcp-mux",
                f"a=ice-ufrag:{self.ufrag}\r\na=ice-pwd:{self.password}\r\na=setup:actpass",
                f"a=fingerprint:sha-256 {fingerprint}\r\na=rtpmap:109 opus/48000/2\r\na=fmtp:109 useinbandfec=1\r\n",
            ]
        )

    def check(self) -> bytes:
        """A binding request that nominates (RFC 8445 section 7.1, RFC 8489)."""
        name = f"{self.remote_ufrag}:{self.ufrag}".encode()
        body = struct.pack("!HH", 6, len(name)) + name + bytes(-len(name) % 4)
        body += (
            struct.pack("!HHI", 0x24, 4, 0x6E0001FF) + struct.pack("!HHQ", 0x802A, 8, 1) + struct.pack("!HH", 0x25, 0)
        )
        start, transaction = struct.pack("!H", 1), struct.pack("!I", 0x2112A442) + secrets.token_bytes(12)
        signed = start + struct.pack("!H", len(body) + 24) + transaction + body
        body += struct.pack("!HH", 8, 20) + hmac.digest(self.remote_password.encode(), signed, "sha1")
        whole = start + struct.pack("!H", len(body) + 8) + transaction + body
        return whole + struct.pack("!HHI", 0x8028, 4, binascii.crc32(whole) ^ 0x5354554E)

    def shake(self, datagram: bytes) -> list[bytes]:
        """A step of the handshake, as its server; the datagrams to send."""
        self.tls.bio_write(datagram)
        try:
            self.tls.do_handshake()
            material = self.tls.export_keying_material(b"EXTRACTOR-dtls_srtp", 56)
            server = material[16:32] + material[44:56]
            policy = Policy(
                key=server, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM
            )
            self.srtp = Session(policy)
        except SSL.WantReadError:
            pass
        datagrams: list[bytes] = []
        while True:
            try:
                data = self.tls.bio_read(1 << 16)
            except SSL.WantReadError:
                return datagrams
            while data:  # one datagram per record
                size = 13 + struct.unpack("!H", data[11:13])[0]
                datagrams.append(data[:size])
                data = data[size:]


class Driver:
    """Callers, relay, agent and signaling of one run."""

    def __init__(self, nats_port: int, count: int) -> None:
        self.frames = sound()
        self.packets = opus_packets(self.frames)
        self.tls = Tls()
        self.callers = [Caller(number, self.tls) for number in range(count)]
        self.by_header = {caller.header: caller for caller in self.callers}
        self.by_session: dict[str, Caller] = {}
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.nats = socket.create_connection(("127.0.0.1", nats_port))
        self.nats.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        self.unsent = b'CONNECT {"verbose":false}\r\n'
        for number, subject in enumerate(
            (
                "antiphon.v1.transceiver.*.*.announce",
                "antiphon.v1.agent.independent.claim",
                "antiphon.v1.session.independent.*.audio.in",
                "_INBOX.d.*",
            )
        ):
            self.unsent += f"SUB {subject} {number}\r\n".encode()
        self.nats.sendall(self.unsent)
        self.nats.setblocking(False)
        self.unsent = b""
        self.owner: dict[str, Any] | None = None
        self.to = ("", 0)
        self.due: list[tuple[float, int]] = []
        self.announced = 0.0
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.udp, selectors.EVENT_READ, self.read_udp)
        self.selector.register(self.nats, selectors.EVENT_READ, self.read_nats)

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        self.unsent += f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n"

    def turn(self) -> None:
        now = time.monotonic()
        wait = min(0.01, max(0.0, self.due[0][0] - now)) if self.due else 0.01
        for key, _ in self.selector.select(wait):
            key.data()
        while self.due and self.due[0][0] <= time.monotonic():
            at, number = self.due[0]
            heapq.heapreplace(self.due, (at + 0.02, number))
            self.speak(self.callers[number], at)
        if time.monotonic() - self.announced > 0.5:
            self.announced = time.monotonic()
            here = f"127.0.0.1:{self.udp.getsockname()[1]}"
            relay = {"version": 1, "name": "independent", "public_addresses": [here], "tunnel_addresses": [here]}
            self.publish("antiphon.v1.relay.independent.announce", json.dumps(relay | {"state": "ready"}).encode())
        if self.unsent:
            with contextlib.suppress(BlockingIOError):
                self.unsent = self.unsent[self.nats.send(self.unsent) :]

    def wait(self, seconds: float, until: Any = lambda: False) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.turn()
        return bool(until())

    def speak(self, caller: Caller, at: float) -> None:
        assert caller.srtp is not None
        number = len(caller.sent)
        head = struct.pack("!BBHII", 0x80, 109 | (0 if number else 128), caller.sequence, caller.timestamp, caller.ssrc)
        packet = caller.srtp.protect(head + self.packets[number % len(self.packets)])
        caller.driver_late.append((time.monotonic() - at) * 1000)
        caller.sent.append(time.time_ns())
        self.udp.sendto(caller.header + packet, self.to)
        caller.sequence = (caller.sequence + 1) % 0x10000
        caller.timestamp = (caller.timestamp + 960) % 0x100000000
        for ahead in range(AHEAD + 1) if not number else (AHEAD,):
            pcm = self.frames[(number + ahead) % len(self.frames)]
            fields = [1, number + ahead, (number + ahead) * FRAME, time.time_ns(), RATE, 0, 0, pcm]
            self.publish(f"antiphon.v1.session.independent.{caller.session}.audio.out", msgpack.packb(fields))

    def read_udp(self) -> None:
        for _ in range(32):
            try:
                data, ancillary, _, _ = self.udp.recvmsg(2048, socket.CMSG_SPACE(16))
            except BlockingIOError:
                return
            caller = self.by_header.get(data[:8])
            if caller is None or len(data) < 21:
                continue
            kind = data[8]
            if 128 <= kind < 192 and not 64 <= data[9] % 128 < 96:
                seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
                caller.came.append((seconds * 10**9 + nanoseconds, struct.unpack_from("!I", data, 12)[0]))
            elif 20 <= kind < 64:
                for datagram in caller.shake(data[8:]):
                    self.udp.sendto(caller.header + datagram, self.to)

    def read_nats(self) -> None:
        self.unread += self.nats.recv(1 << 18)
        at = 0
        while (end := self.unread.find(b"\r\n", at)) >= 0:
            words = self.unread[at:end].decode().split(" ")
            if words[0] != "MSG":
                self.unsent += b"PONG\r\n" if words[0] == "PING" else b""
                at = end + 2
                continue
            size = int(words[-1])
            if len(self.unread) < end + size + 4:
                break
            payload, at = self.unread[end + 2 : end + 2 + size], end + size + 4
            self.message(words[1], int(words[2]), words[3] if len(words) == 5 else "", payload)
        self.unread = self.unread[at:]

    def message(self, subject: str, subscription: int, reply: str, payload: bytes) -> None:
        if subscription == 2:
            caller = self.by_session.get(subject.split(".")[4])
            if caller is not None:
                fields = msgpack.unpackb(payload)
                caller.made.append((fields[2], fields[5], time.time_ns()))
            return
        read = json.loads(payload)
        if subscription == 0:
            host, _, port = read["tunnel_address"].rpartition(":")
            self.owner, self.to = read, (host, int(port))
        elif subscription == 1:
            self.publish(reply, json.dumps({"version": 1, "accepted": True, "input_rate": RATE}).encode())
        else:
            caller = self.callers[int(subject.rpartition(".")[2])]
            lines = dict(line.partition(":")[::2] for line in read["answer"].split("\r\n"))
            caller.remote_ufrag, caller.remote_password = lines["a=ice-ufrag"], lines["a=ice-pwd"]
            caller.session = read["session_id"]
            self.by_session[caller.session] = caller
            self.udp.sendto(caller.header + caller.check(), self.to)

    def join(self) -> None:
        if not self.wait(15, lambda: self.owner is not None):
            raise SystemExit("no transceiver announces itself")
        self.wait(1)  # it must know the relay
        assert self.owner is not None
        for at in range(0, len(self.callers), 5):
            some = self.callers[at : at + 5]
            for caller in some:
                request = {"version": 1, "offer": caller.offer(self.tls.fingerprint), "agent": "independent"}
                subject = f"antiphon.v1.transceiver.{self.owner['cluster']}.{self.owner['slot']}.open"
                self.publish(subject, json.dumps(request).encode(), f"_INBOX.d.{caller.number}")
            if not self.wait(15, lambda some=some: all(caller.srtp for caller in some)):
                raise SystemExit(f"only {at} sessions came up")
        self.wait(0.5)
        now, count = time.monotonic(), len(self.callers)
        self.due = [(now + 0.02 * number / count, number) for number in range(count)]


def cpu_ns(pid: int) -> int:
    return sum(int(task.joinpath("schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def at_rank(values: list[float], rank: float) -> float:
    values = sorted(values)
    return round(values[min(len(values) - 1, int(rank * len(values)))], 3) if values else math.nan


def measured(driver: Driver, pid: int, seconds: float) -> dict[str, Any]:
    """One window; its statistics are made after it."""
    driver.wait(SETTLE)
    begin, cpu, clock = time.time_ns(), cpu_ns(pid), time.monotonic_ns()
    sends = [len(caller.sent) for caller in driver.callers]
    driver.wait(seconds)
    end, cpu, clock = time.time_ns(), cpu_ns(pid) - cpu, time.monotonic_ns() - clock
    driver.wait(0.3)
    late, delays, own, missing = [], [], [], 0
    for caller, since in zip(driver.callers, sends, strict=True):
        own += caller.driver_late[since:]
        came = [(at, stamp) for at, stamp in caller.came if at >= begin]
        if not came:
            missing += int(seconds * 50)
            continue
        origin = came[0][1]
        offsets = [(at, at - ((stamp - origin + 2**31) % 2**32 - 2**31) * 1_000_000 // 48) for at, stamp in came]
        base = sorted(offset for _, offset in offsets)[len(offsets) // 20]
        inside = [(offset - base) / 1e6 for at, offset in offsets if begin <= at - (offset - base) < end]
        late += [max(0.0, one) for one in inside]
        missing += max(0, round((end - begin) / 20e6) - 1 - len(inside))
        read = {first // FRAME: at for first, flags, at in caller.made if not flags}
        delays += [
            (read[number] - at) / 1e6 for number, at in enumerate(caller.sent) if begin <= at < end and number in read
        ]
    ranks = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
    return {
        "sessions": len(driver.callers),
        "us_per_pair": round(cpu / 1000 / (clock / 20e6 * len(driver.callers)), 1),
        "core_percent": round(cpu / clock * 100, 1),
        "late_ms": {name: at_rank(late, rank) for name, rank in ranks},
        "late_percent": round(sum(one > 10 for one in late) / max(1, len(late)) * 100, 3),
        "missing": missing,
        "packet_to_agent_ms": {name: at_rank(delays, rank) for name, rank in ranks},
        "frames_paired": len(delays),
        "driver_late_ms": {name: at_rank(own, rank) for name, rank in ranks},
    }


def measure(count: int, seconds: float, cores: tuple[int, int]) -> dict[str, Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    with tempfile.TemporaryDirectory() as directory:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            str(Path(sys.executable).with_name("nats-server")),
            "-a",
            "127.0.0.1",
            "-p",
            str(port),
            "-js",
            "-sd",
            directory,
        ]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        settings = {
            "ANTIPHON_NATS_URL": f"nats://127.0.0.1:{port}",
            "ANTIPHON_ROUTE_KEYS": f"A:{secrets.token_hex(16)}",
            "ANTIPHON_PASSWORD_KEY": secrets.token_hex(32),
            "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
            "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
            "ANTIPHON_CAPACITY": "1000",
            "ANTIPHON_MAX_LATENESS_MS": "100000",
            "ANTIPHON_LOG_LEVEL": "WARNING",
        }
        time.sleep(0.5)
        transceiver = subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=clean | settings)
        os.sched_setaffinity(transceiver.pid, {cores[1]})
        try:
            driver = Driver(port, count)
            driver.join()
            return measured(driver, transceiver.pid, seconds)
        finally:
            for child in (transceiver, server):
                child.terminate()
                child.wait(10)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, nargs="+", default=[50, 100], help="of each run (default: 50 100)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the window (default: %(default)s)")
    parser.add_argument("--realtime", action="store_true", help="SCHED_RR, needs root")


def run(args: argparse.Namespace) -> int:
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {available[0]})
    if args.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()
    for count in args.sessions:
        print(json.dumps(measure(count, args.seconds, (available[0], available[-1]))), flush=True)
    return 0
