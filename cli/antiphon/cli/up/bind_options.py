"""Where the services of `antiphon up` listen, and which addresses clients get; ports are tried before the start."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from antiphon.cli.errors import UsageError
from antiphon.cli.up import embedded_nats
from antiphon.schemas.addresses import Address, parse_address


def http_address(text: str) -> Address:
    """The address of `--http`; `UsageError` for another text than `[ADDRESS:]PORT`."""
    host, _, port = text.rpartition(":")
    try:
        if port == "0":  # a free one; `parse_address` refuses it, because no peer can be reached there
            return Address(parse_address(f"{host or '127.0.0.1'}:1").host, 0)
        return parse_address(f"{host or '127.0.0.1'}:{port}")
    except ValueError as error:
        raise UsageError(f"--http {text}: {error}") from None


def offered_hosts(public: str | None, loopback_only: bool) -> list[str]:
    """The addresses to which clients send media, the likeliest first.

    Without `--public` these are for browsers on this machine. Firefox sends nothing to 127.0.0.1 from any other
    address, so the machine's own network address is offered too. The relay drops what comes to it there from other
    machines: only the ufrag of an answer opens a flow, and answers are given on loopback.
    """
    if public is not None:
        try:
            return [str(ipaddress.ip_address(public))]
        except ValueError:
            raise UsageError(f"--public {public}: expected an IP address, such as 192.0.2.1") from None
    own = None if loopback_only else _own_network_address()
    return ["127.0.0.1", own] if own else ["127.0.0.1"]


def _own_network_address() -> str | None:
    """The IPv4 address that this machine's default route leaves from; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a datagram socket: sends nothing, only asks the routing table
        except OSError:
            return None
        host: str = probe.getsockname()[0]
    return None if ipaddress.ip_address(host).is_loopback else host


def relay_address(port: int, offered: list[str]) -> Address:
    """Where the relay listens for these offered addresses; `UsageError` for a port out of range."""
    if not 0 <= port < 65536:
        raise UsageError(f"--relay-port {port}: a port is a number from 1 to 65535, or 0 for a free one")
    if offered == ["127.0.0.1"]:
        return Address("127.0.0.1", port)
    return Address("::" if ":" in offered[0] else "0.0.0.0", port)


def relay_tcp_address(port: int | None, relay: Address) -> Address | None:
    """Where ICE-TCP is served; None when no port was given and the relay's number is taken."""
    if port is None:
        try:
            usable_port(relay, socket.SOCK_STREAM, "--relay-tcp-port")
        except UsageError:
            return None
        return relay
    if not 0 <= port < 65536:
        raise UsageError(f"--relay-tcp-port {port}: a port is a number from 1 to 65535, or 0 for a free one")
    wanted = relay._replace(port=port)
    return wanted._replace(port=usable_port(wanted, socket.SOCK_STREAM, "--relay-tcp-port"))


def require_keys_for_others(http: Address, public: str | None) -> None:
    """`UsageError` if other machines can call and no API keys are set: every one of them could use the models."""
    serves_others = public is not None or not ipaddress.ip_address(http.host).is_loopback
    if serves_others and not any(os.environ.get(name) for name in ("ANTIPHON_API_KEYS", "ANTIPHON_API_KEYS_FILE")):
        raise UsageError(
            "serving other machines (--public, or --http on more than loopback) needs ANTIPHON_API_KEYS: "
            "set it to one or more keys of your own, separated by commas (or ANTIPHON_API_KEYS_FILE to a file of them)"
        )


def tls_files(certificate: Path | None, key: Path | None) -> dict[str, str]:
    """What signaling gets for `--tls-cert` and `--tls-key`; `UsageError` for one alone, or a file that is not there."""
    if certificate is None and key is None:
        return {}
    if certificate is None or key is None:
        raise UsageError("--tls-cert and --tls-key belong together: a certificate is of no use without its key")
    for option, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if not path.is_file():
            raise UsageError(f"{option} {path}: there is no such file")
    return {"ANTIPHON_TLS_CERT": str(certificate.absolute()), "ANTIPHON_TLS_KEY": str(key.absolute())}


def usable_port(address: Address, kind: socket.SocketKind, option: str) -> int:
    """The port, or a free one for 0. Tried here, because a second relay would share the port of the first unnoticed."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a former server's TIME_WAIT is no obstacle
        try:
            probe.bind((address.host, address.port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as error:
            what = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
            raise UsageError(
                f"{what} port {address.port} on {address.host} cannot be used ({error.strerror}): "
                f"end the program that has it, or choose another port with {option}"
            ) from None
        port: int = probe.getsockname()[1]
        return port


def nats_port(wanted: int | None) -> int | None:
    """The wanted port, `ANY_PORT` if the usual one is taken, None for the usual one."""
    if wanted is not None:
        return usable_port(Address("127.0.0.1", wanted), socket.SOCK_STREAM, "--nats-port")
    try:
        usable_port(Address("127.0.0.1", embedded_nats.DEFAULT_PORT), socket.SOCK_STREAM, "--nats-port")
    except UsageError:
        return embedded_nats.ANY_PORT
    return None
