"""What we use of aiortc, pylibsrtp and PyAV beyond their public interface exists and behaves; only adapters touch it.

When an upgrade of one of them breaks a test here, the adapter (`*_internals.py`) is the file to look at, before
anything else fails in ways that are harder to read.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import aiortc
import pylibsrtp
import pytest
from aiortc import RTCCertificate
from OpenSSL import SSL

import antiphon.bench
import antiphon.cli
import antiphon.rtc
import antiphon.transceiver
from antiphon.rtc.dtls import aiortc_internals as dtls_internals
from antiphon.rtc.media import pyav_internals
from antiphon.rtc.rtp import libsrtp_internals

FOREIGN = {"aiortc", "aioice", "pylibsrtp", "OpenSSL", "cryptography", "av", "pyee", "cffi"}
ADAPTERS = ("_internals", "nats_direct", "nats_fast_path")
"""How the names of adapters end. The last is that of nats-py."""
OTHER_STACK = {"aiortc_baseline", "independent_driver"}
"""Callers by aiortc and libraries alone, without anything of ours: what ours is compared with."""
PROMISED = {"_replace", "_asdict"}
"""Names with an underscore that the language documents; those with two at both ends are its own as well."""
FILES = [
    path
    for package in (antiphon.rtc, antiphon.transceiver, antiphon.cli, antiphon.bench)
    for path in sorted(Path(package.__path__[0]).rglob("*.py"))
    if not path.stem.endswith(ADAPTERS) and path.stem not in OTHER_STACK
]


# ---- libsrtp -----------------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_the_binding_of_pylibsrtp_has_what_is_called() -> None:
    for name in ("srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp"):
        assert callable(getattr(libsrtp_internals, name))
    policy = pylibsrtp.Policy(
        bytes(28), pylibsrtp.Policy.SSRC_ANY_INBOUND, 0, pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    )
    assert libsrtp_internals.srtp_context(pylibsrtp.Session(policy))
    assert Path(libsrtp_internals.SRTP_LIBRARY).is_file()


@pytest.mark.pure
def test_a_rollover_counter_that_is_set_is_the_one_that_packets_are_protected_with() -> None:
    def session(ssrc_type: int) -> pylibsrtp.Session:
        profile = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        return pylibsrtp.Session(pylibsrtp.Policy(bytes(28), ssrc_type, 7, profile))

    packet = bytes([0x80, 111, 0, 1]) + bytes(4) + (7).to_bytes(4, "big") + b"speech"
    young, old, receiver = (session(pylibsrtp.Policy.SSRC_SPECIFIC) for _ in range(3))
    libsrtp_internals.set_rollover_counter(old, 7, 3)
    libsrtp_internals.set_rollover_counter(receiver, 7, 3)
    protected = old.protect(packet)
    assert protected != young.protect(packet)
    assert receiver.unprotect(protected) == packet


@pytest.mark.pure
def test_a_packet_that_was_seen_before_is_told_by_its_status() -> None:
    profile = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    sender = pylibsrtp.Session(pylibsrtp.Policy(bytes(28), pylibsrtp.Policy.SSRC_SPECIFIC, 7, profile))
    receiver = pylibsrtp.Session(pylibsrtp.Policy(bytes(28), pylibsrtp.Policy.SSRC_ANY_INBOUND, 0, profile))
    protected = sender.protect(bytes([0x80, 111, 0, 1]) + bytes(4) + (7).to_bytes(4, "big") + b"speech")
    statuses = []
    for _ in range(2):
        buffer, length = (
            libsrtp_internals.srtp_ffi.new("unsigned char[]", 2048),
            libsrtp_internals.srtp_ffi.new("int *", len(protected)),
        )
        libsrtp_internals.srtp_ffi.memmove(buffer, protected, len(protected))
        statuses.append(libsrtp_internals.srtp_unprotect(libsrtp_internals.srtp_context(receiver), buffer, length))
    assert statuses[0] == 0
    assert statuses[1] in libsrtp_internals.SRTP_REPLAYED


# ---- PyAV --------------------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_the_wheel_of_pyav_carries_libopus() -> None:
    assert any(Path(path).is_file() for path in pyav_internals.carried_by_pyav("libopus"))


# ---- certificates ------------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_openssl_s_context_comes_from_aiortc_s_certificate() -> None:
    assert "srtp_profiles" in inspect.signature(RTCCertificate._create_ssl_context).parameters
    assert isinstance(dtls_internals.ssl_context(RTCCertificate.generateCertificate()), SSL.Context)


@pytest.mark.pure
def test_the_digest_of_a_certificate_is_its_fingerprint() -> None:
    certificate = RTCCertificate.generateCertificate()
    (print_,) = (print_ for print_ in certificate.getFingerprints() if print_.algorithm == "sha-256")
    assert dtls_internals.certificate_digest(certificate._cert, "sha-256") == print_.value
    assert {"sha-256", "sha-384", "sha-512"} <= dtls_internals.DIGESTS


# ---- nowhere else ------------------------------------------------------------------------------------------------


def public_names(module: str) -> set[str]:
    """What a library's module promises: `__all__` of a package's front, else every name without an underscore."""
    loaded = importlib.import_module(module)
    return set(getattr(loaded, "__all__", None) or (name for name in vars(loaded) if not name.startswith("_")))


def foreign_insides(tree: ast.Module) -> Iterator[str]:
    """Imports of what a library does not promise, and private names of anything but this file's own objects."""
    own = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.name]
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            else [node.attr]
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value)
            else [node.target.id]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            else []
        )
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] in FOREIGN and "." in name.name:
                    yield f"import {name.name}"
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in FOREIGN:
            package = node.module.split(".")[0]
            inside = package in ("aiortc", "aioice", "pylibsrtp", "av") and node.module != package
            for name in node.names:
                if inside or name.name.startswith("_") or name.name not in public_names(node.module):
                    yield f"from {node.module} import {name.name}"
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not is_self(node.value) or node.attr not in own:
                yield ast.unparse(node)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr", "hasattr", "delattr")
            and len(node.args) > 1
        ):
            name_of = node.args[1]
            if not isinstance(name_of, ast.Constant) or str(name_of.value).startswith("_"):
                yield ast.unparse(node)


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name not in PROMISED


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


@pytest.mark.pure
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_other_file_touches_what_a_library_does_not_promise(path: Path) -> None:
    found = list(foreign_insides(ast.parse(path.read_text())))
    assert found == [], f"{path.name} leans on the insides of something: it belongs into an adapter"


@pytest.mark.pure
@pytest.mark.parametrize(
    "code",
    [
        "from aiortc.rtcsctptransport import SackChunk",
        "import aiortc.sdp",
        "from aiortc import sdp",
        "from pylibsrtp import _binding",
        "session._srtp[0]",
        "class A(Base):\n    def f(self):\n        return self._of_the_base_class",
        "getattr(sctp, '_local_tsn')",
        "getattr(sctp, name)",
    ],
)
def test_the_test_above_would_notice(code: str) -> None:
    assert list(foreign_insides(ast.parse(code)))


@pytest.mark.pure
def test_the_libraries_are_the_versions_that_the_lock_names() -> None:
    """Not a promise of the stack: it says which versions the rest of this file speaks of."""
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    assert f"aiortc=={aiortc.__version__} " in lock
    assert f"pylibsrtp=={pylibsrtp.__version__} " in lock
