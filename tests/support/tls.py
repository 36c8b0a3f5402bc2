"""Certificates for tests, made by `cryptography`."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Pair(NamedTuple):
    """PEM of a certificate and its key."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Into `cert.pem` and `key.pem` of this directory."""
        directory.mkdir(exist_ok=True)
        paths = directory / "cert.pem", directory / "key.pem"
        for path, data in zip(paths, self, strict=True):
            path.write_bytes(data)
        return paths


def pair(
    name: str = "localhost", *, begins: float = -1, days: float = 30, password: bytes | None = None, server: bool = True
) -> Pair:
    """A self-signed certificate for `name` and loopback, valid from `begins` to `days` from now, in days."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    loopback = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), *loopback]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    encoding = serialization.Encoding.PEM
    return Pair(
        certificate.public_bytes(encoding), key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption)
    )
