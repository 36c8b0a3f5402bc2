"""Which proxies are believed what they say of the client's address."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_HOPS: Final = 16
"""Addresses of X-Forwarded-For that are read, from the right."""


class TrustedProxies:
    """The networks of `ANTIPHON_TRUSTED_PROXIES`. A value; anybody may call."""

    def __init__(self, text: str = "") -> None:
        """`text`: addresses and CIDR networks, comma separated; ValueError names one that is none."""
        self._networks: list[Network] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                self._networks.append(ipaddress.ip_network(part))
            except ValueError:
                raise ValueError(
                    f"ANTIPHON_TRUSTED_PROXIES names {part!r:.60}: expected an address or a network such as 10.0.0.0/8 "
                    "(without bits beside the network's)"
                ) from None

    def __bool__(self) -> bool:
        return bool(self._networks)

    def has(self, host: str) -> bool:
        """Whether this address is a proxy of ours."""
        if not self._networks:
            return False
        address = _address(host)
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address of the client: the rightmost hop that is no proxy of ours.

        `peer` is the address of the connection, `forwarded_for` the values of all X-Forwarded-For fields in order. Each
        proxy appends the address that it sees, so what is left of the first stranger is the stranger's own word. A hop
        that is no address ends the search at the proxy that wrote it.
        """
        client = peer
        if not self.has(peer):
            return client
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
            address = _address(_without_port(hop))
            if address is None:
                break
            client = str(address)
            if not self.has(client):
                break
        return client


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _without_port(hop: str) -> str:
    """`192.0.2.1:80` and `[2001:db8::1]:80`, as some proxies write it."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
