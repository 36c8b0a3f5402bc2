"""The server's certificate: read from two files, checked before the first connection, read again when it is renewed.

The checks are a TLS handshake in memory with a client that trusts this certificate alone. So what is refused here is
what clients would refuse: a key of another certificate, a date, a certificate that is not for servers.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

# TLS 1.3 has its own list, all of it sound. For 1.2: forward secrecy and authenticated encryption only
# (RFC 9325 section 4.2).
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
CHECK_SECONDS: Final = 2.0
"""Between two looks at the files."""
WARN_DAYS: Final = 14
_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
"""X509_V_ERR_... of OpenSSL."""


class CertificateError(ValueError):
    """The files can't be used. The text names the setting and the way out."""


class Certificate:
    """The TLS context of new connections, made of the newest usable certificate.

    Made by `main` before the listener; `context` and `refresh` are called on the event loop.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises `CertificateError`."""
        self._certificate, self._key = certificate, key
        self._seen = self._state()
        self._context, self._until = load(certificate, key)
        self._refused: object = None
        self._warned = float("-inf")

    def context(self) -> ssl.SSLContext:
        """For one connection; those that run keep theirs."""
        return self._context

    def refresh(self, now: float) -> None:
        """Take up what has changed; `now` is Unix time. Files that can't be used change nothing, and are said once."""
        state = self._state()
        if state != self._seen:
            try:
                self._context, self._until = load(self._certificate, self._key)
            except CertificateError as error:
                # In the middle of a renewal the two files do not match for a moment: look again next time.
                if state == self._refused:
                    return
                self._refused = state
                log.warning("the certificate that is in use stays: %s", error)
                return
            self._seen, self._refused = state, None
            log.info("a new certificate is in use, valid until %s", day(self._until))
        if self._until - now < WARN_DAYS * 86400 and now - self._warned >= 86400:
            self._warned = now
            log.warning("the certificate ANTIPHON_TLS_CERT is valid until %s: renew it", day(self._until))

    def _state(self) -> tuple[object, ...]:
        """What changes with the files; links are followed, because certbot's renewal points them elsewhere."""
        return tuple(_stat(path) for path in (self._certificate, self._key))


def _stat(path: Path) -> object:
    try:
        about = path.stat()
    except OSError as error:
        return error.errno
    return os.path.realpath(path), about.st_ino, about.st_mtime_ns, about.st_size


def day(moment: float) -> str:
    """The day of a Unix time, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def load(certificate: Path, key: Path) -> tuple[ssl.SSLContext, float]:
    """The context, and the Unix time until which the certificate is valid; `CertificateError`."""
    for name, path in (("ANTIPHON_TLS_CERT", certificate), ("ANTIPHON_TLS_KEY", key)):
        try:
            if not path.read_bytes().strip():
                raise CertificateError(f"{name} {path} is empty")
        except OSError as error:
            raise CertificateError(f"{name} {path} can't be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedKeyError:
        raise CertificateError(f"ANTIPHON_TLS_KEY {key} is encrypted: store it without a password, mode 0400") from None
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            text = f"ANTIPHON_TLS_KEY {key} is not the key of the certificate ANTIPHON_TLS_CERT {certificate}"
            raise CertificateError(text) from None
        raise CertificateError(
            f"ANTIPHON_TLS_CERT {certificate} or ANTIPHON_TLS_KEY {key} is no PEM of a certificate, or of its key "
            f"({error.reason or 'not readable'})"
        ) from None
    return context, _valid_until(context, certificate)


class _EncryptedKeyError(Exception):
    """OpenSSL asks for a password."""


def _no_password() -> bytes:
    raise _EncryptedKeyError


def _valid_until(context: ssl.SSLContext, certificate: Path) -> float:
    """Shake hands with a client that trusts the first certificate of the file; its last valid second."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    text = certificate.read_text(errors="replace")
    end = "-----END CERTIFICATE-----"
    first = text[text.find("-----BEGIN CERTIFICATE-----") : text.find(end) + len(end)]
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client_context.load_verify_locations(cadata=first)
        client = client_context.wrap_bio(to_client, to_server)
        server = context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        subject = client.getpeercert() or {}
        return float(ssl.cert_time_to_seconds(str(subject["notAfter"])))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
            word = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
            raise CertificateError(f"ANTIPHON_TLS_CERT {certificate} {word}: renew it, or set this clock") from None
        raise CertificateError(
            f"ANTIPHON_TLS_CERT {certificate} is refused by clients: {error.verify_message}"
        ) from None
    except (ssl.SSLError, KeyError, ValueError) as error:
        raise CertificateError(f"ANTIPHON_TLS_CERT {certificate} can't be used: {error}") from None
