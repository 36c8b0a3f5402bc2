"""An authority, and a certificate for localhost or addresses, as a TLS server and its clients have them."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Certificates(NamedTuple):
    """Files in PEM."""

    ca: Path
    cert: Path
    key: Path


def certificates(directory: Path, addresses: Sequence[str] = ()) -> Certificates:
    """Made anew in the directory; `addresses`: IP addresses that it is for as well."""
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])

    def builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
        return made.serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + DAY)

    ca = builder(issuer, authority).add_extension(x509.BasicConstraints(True, None), critical=True)
    others = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
    host = x509.SubjectAlternativeName([x509.DNSName("localhost"), *others])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    cert = builder(name, own).add_extension(host, critical=False)
    files = Certificates(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    files.ca.write_bytes(ca.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files.cert.write_bytes(cert.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    files.key.write_bytes(own.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return files
