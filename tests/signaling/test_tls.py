"""HTTPS by given certificates: renewed while it runs, old protocols refused, mistakes named at the start."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.processes.signaling import SignalingProcess, signaling_process, until
from support.tls import Pair, pair

from antiphon.signaling.connections.certificate import Certificate, CertificateError, load
from antiphon.signaling.connections.connection_table import HEAD_SECONDS

pytestmark = pytest.mark.process


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """As certbot lays it out: `live/` has links into `archive/`."""
    pair().write(tmp_path / "archive")
    (tmp_path / "live").mkdir()
    for name in ("cert.pem", "key.pem"):
        (tmp_path / "live" / name).symlink_to(tmp_path / "archive" / name)
    return tmp_path / "live"


def renewed(live: Path, fresh: Pair) -> None:
    """Point the links to a new pair, one after the other."""
    archive = live.parent / f"archive-{time.monotonic_ns()}"
    fresh.write(archive)
    for name in ("cert.pem", "key.pem"):
        (live / "new").symlink_to(archive / name)
        os.replace(live / "new", live / name)


@pytest.fixture
def service(nats_url: str, live: Path) -> Iterator[SignalingProcess]:
    with signaling_process(nats_url, **settings(live)) as running:
        yield running


def settings(live: Path) -> dict[str, str]:
    return {"ANTIPHON_TLS_CERT": str(live / "cert.pem"), "ANTIPHON_TLS_KEY": str(live / "key.pem")}


def trusting(certificate: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificate.decode())


def shown(service: SignalingProcess) -> str:
    """The certificate that a new connection gets, in PEM."""
    where = urlsplit(service.url)
    return ssl.get_server_certificate((where.hostname or "", where.port or 0), timeout=10)


def test_https_is_served_and_checked_by_the_process_itself(service: SignalingProcess, live: Path) -> None:
    assert service.url.startswith("https://")
    with httpx.Client(base_url=service.url, verify=trusting((live / "cert.pem").read_bytes())) as http:
        for _ in range(3):
            response = http.get("/v1/agents")
            assert response.status_code == 200
    bind = service.url.removeprefix("https://")
    environment = {**os.environ, **settings(live), "ANTIPHON_HTTP_BIND": bind}
    check = [sys.executable, "-m", "antiphon.signaling", "--check"]
    done = subprocess.run(check, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "transceiver" in done.stderr, "it was answered: no transceiver is there"


def test_a_renewed_certificate_is_taken_up_and_connections_go_on(service: SignalingProcess, live: Path) -> None:
    old = (live / "cert.pem").read_bytes()
    with httpx.Client(base_url=service.url, verify=trusting(old)) as http:
        assert http.get("/v1/agents").status_code == 200
        renewed(live, pair())
        new = (live / "cert.pem").read_text().strip()
        until(lambda: shown(service).strip() == new, "new connections get the new certificate")
        assert http.get("/v1/agents").status_code == 200, "on the old connection"
    assert any("a new certificate is in use" in line for line in service.lines)


def test_a_renewal_that_cannot_be_used_keeps_the_certificate_and_is_said_once(
    service: SignalingProcess, live: Path
) -> None:
    old = shown(service)
    (live / "cert.pem").unlink()
    (live / "cert.pem").write_bytes(pair().certificate)  # the key is another one's
    until(lambda: any("stays" in line for line in service.lines), "it is said")
    assert shown(service) == old
    (live / "key.pem").unlink()
    until(lambda: sum("stays" in line for line in service.lines) == 2, "the next state is said too")
    assert shown(service) == old
    assert "Traceback" not in "".join(service.lines)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(service: SignalingProcess, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connect(service))


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE+SHA1"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(service: SignalingProcess, ciphers: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connect(service))


def connect(service: SignalingProcess) -> socket.socket:
    where = urlsplit(service.url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=3 * HEAD_SECONDS)


@pytest.mark.nightly
def test_handshakes_that_are_not_finished_or_none_are_closed_and_leave_no_line(service: SignalingProcess) -> None:
    with contextlib.ExitStack() as stack:
        silent, half, plain = (stack.enter_context(connect(service)) for _ in range(3))
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in (plain, half, silent):
            with contextlib.suppress(ConnectionError):
                while client.recv(4096):
                    pass
    assert not [line for line in service.lines if "Traceback" in line or "SSL" in line]


def test_many_unfinished_handshakes_shut_nobody_out(service: SignalingProcess, live: Path) -> None:
    context = trusting((live / "cert.pem").read_bytes())
    where = urlsplit(service.url)
    to = (where.hostname or "", where.port or 0)
    with contextlib.ExitStack() as stack:
        for number in range(600):
            source = (f"127.0.3.{1 + number // 60}", 0)
            stack.enter_context(socket.create_connection(to, timeout=10, source_address=source))
        assert httpx.get(service.url + "/v1/agents", verify=context).status_code == 200


NAMED = {
    "no certificate": "can't be read",
    "no key": "can't be read",
    "empty": "is empty",
    "no PEM": "no PEM",
    "another's key": "is not the key",
    "a password": "is encrypted",
    "expired": "has expired",
    "not yet": "not valid yet",
    "for clients": "refused by clients",
}


@pytest.mark.parametrize("mistake", NAMED)
def test_a_mistake_in_the_files_is_named_in_one_line(tmp_path: Path, mistake: str) -> None:
    certificate, key = pair().write(tmp_path)
    if mistake in ("no certificate", "no key"):
        (certificate if mistake == "no certificate" else key).unlink()
    elif mistake in ("empty", "no PEM"):
        certificate.write_text("" if mistake == "empty" else "-----BEGIN")
    elif mistake == "another's key":
        key.write_bytes(pair().key)
    elif mistake == "a password":
        pair(password=b"secret").write(tmp_path)
    elif mistake == "expired":
        pair(begins=-3, days=-1).write(tmp_path)
    elif mistake == "not yet":
        pair(begins=1).write(tmp_path)
    else:
        pair(server=False).write(tmp_path)
    with pytest.raises(CertificateError, match=NAMED[mistake]) as raised:
        load(certificate, key)
    assert "\n" not in str(raised.value)


def test_the_process_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    certificate, key = pair(begins=-3, days=-1).write(tmp_path)
    for environment, named in (
        ({"ANTIPHON_TLS_CERT": str(certificate), "ANTIPHON_TLS_KEY": str(key)}, "has expired"),
        ({"ANTIPHON_TLS_CERT": str(certificate)}, "ANTIPHON_TLS_KEY is not"),
        ({"ANTIPHON_TRUSTED_PROXIES": "10.0.0.0/8, nowhere"}, "'nowhere'"),
        ({"ANTIPHON_TRUSTED_PROXIES": "10.0.0.1/8"}, "10.0.0.1/8"),
        ({"ANTIPHON_CONNECTIONS_PER_ADDRESS": "0"}, "ANTIPHON_CONNECTIONS_PER_ADDRESS"),
    ):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
        command = [sys.executable, "-m", "antiphon.signaling"]
        done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert named in done.stderr


def test_a_certificate_that_ends_soon_is_named_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate = Certificate(*pair(days=5).write(tmp_path))
    for hours in (0, 1, 23, 25):
        certificate.refresh(time.time() + 3600 * hours)
    assert sum("renew it" in line for line in caplog.messages) == 2
