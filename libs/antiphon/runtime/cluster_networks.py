"""In which networks the parts of a cluster are: what an announcement names elsewhere is not connected to.

An announcement is what some process wrote on NATS. Without this check one false announcement makes us open connections
to, and send packets to, any address of the internet.
"""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE: Final[tuple[str, ...]] = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",  # RFC 6598: pods and nodes of some Kubernetes services
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Always among the default: no packet to these leaves the operator's networks."""
MAX_NAMED: Final = 64
"""Refused addresses that the log names, once each."""
WIDEST: Final = 8
"""Bits: an interface that calls more than this its network (a tunnel to everywhere) says nothing of the cluster."""
_SIOCGIFADDR: Final = 0x8915
_SIOCGIFNETMASK: Final = 0x891B


class ClusterNetworks:
    """Which addresses may be those of other parts of the cluster.

    Owner: the process, for its whole life; its event loop only.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._named: set[str] = set()

    @classmethod
    def default(cls, own_host: str | None = None) -> ClusterNetworks:
        """Private networks, those of this machine's interfaces, and the address by which we are reached."""
        own = [ipaddress.ip_network(own_host)] if own_host is not None else []
        return cls([*parse_networks(",".join(PRIVATE)), *interface_networks(), *own])

    def __contains__(self, host: str) -> bool:
        """`host`: an IP address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)

    def admits(self, host: str, announced_by: str) -> bool:
        """Whether an announced address is in the cluster; a refused one is named in the log once."""
        if host in self:
            return True
        if host not in self._named and len(self._named) < MAX_NAMED:
            self._named.add(host)
            log.warning(
                "%.80s announces %s, which is in none of the cluster's networks, and is ignored: set "
                "ANTIPHON_CLUSTER_NETWORKS if it belongs to the cluster",
                announced_by,
                host,
            )
        return False


def parse_networks(text: str) -> list[Network]:
    """`10.0.0.0/8,fd00::/8`; ValueError names the part that is no network."""
    networks: list[Network] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise ValueError(
                f"ANTIPHON_CLUSTER_NETWORKS: {part!r} is no network ({error}): write it as 10.1.0.0/16"
            ) from None
    return networks


def interface_networks() -> list[Network]:
    """The networks of this machine's interfaces, as far as Linux tells: the first IPv4 one of each, and all of IPv6."""
    found: list[Network] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                address = fcntl.ioctl(asking, _SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(asking, _SIOCGIFNETMASK, request)[20:24]
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(ipaddress.ip_network(f"{socket.inet_ntoa(address)}/{socket.inet_ntoa(mask)}", strict=False))
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        address_text, _, prefix, *_ = line.split()
        found.append(ipaddress.ip_network((bytes.fromhex(address_text), int(prefix, 16)), strict=False))
    return [each for each in found if each.prefixlen >= WIDEST]
