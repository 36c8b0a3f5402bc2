"""Which servers a stranger may have this process connect to: hosts and addresses that the operator names. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from antiphon.runtime.tools.definitions import checked_url

MAX_ENTRIES: Final = 200
_PORTS: Final = {"https": 443, "http": 80}
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AllowedHosts:
    """A value, made once by the process. Empty: there is none.

    A host stands for itself on one port of HTTPS, or of HTTP where that is written. A name may lead to public addresses
    alone, unless the address that it leads to is named as well.
    """

    setting: str = ""
    """The name of the setting, for errors."""
    hosts: tuple[tuple[str, str, int], ...] = ()
    """Scheme, host (`*.` in front: every name below), port."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, text: str, setting: str) -> Self:
        """Entries with commas between them: `tools.example.com`, `https://*.example.com:8443`, `http://127.0.0.1:9000`.

        `10.0.0.0/8` allows no host, but its addresses for names that are allowed. ValueError names an entry that can't
        be used.
        """
        entries = [each.strip() for each in text.split(",") if each.strip()]
        if len(entries) > MAX_ENTRIES:
            raise ValueError(f"{setting}: there are {len(entries)} hosts, at most {MAX_ENTRIES} are taken")
        hosts: list[tuple[str, str, int]] = []
        networks: list[Network] = []
        for entry in entries:
            if "/" in entry and "://" not in entry:
                networks.append(_network(entry, setting))
                continue
            scheme, host, port = _host(entry, setting)
            hosts.append((scheme, host, port))
            if (address := _address(host)) is not None:
                networks.append(ipaddress.ip_network(address))
        return cls(setting, tuple(hosts), tuple(networks))

    def refusal(self, url: str) -> str:
        """Why this URL may not be asked; empty: it may."""
        try:
            parts = checked_url(url)
        except ValueError as error:
            return str(error)
        scheme, host, port = parts.scheme, parts.hostname.lower().rstrip("."), parts.port or _PORTS[parts.scheme]
        if any(_is_meant(entry, scheme, host, port) for entry in self.hosts):
            return ""
        return f"{scheme}://{host:.80}:{port} is none of the servers that the operator allows in {self.setting}"

    def allows_address(self, address: str) -> bool:
        """A connection may be made to this address: it is a public one, or named."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return _is_public(found) or any(found in network for network in self.networks)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.sixtofour or address.teredo or _is_nat64(address)):
        return False  # an IPv4 address of any kind may be inside
    return address.is_global and not address.is_multicast


def _is_nat64(address: ipaddress.IPv6Address) -> bool:
    return address in ipaddress.ip_network("64:ff9b::/96")


def _is_meant(entry: tuple[str, str, int], scheme: str, host: str, port: int) -> bool:
    if (scheme, port) != (entry[0], entry[2]):
        return False
    return host.endswith(entry[1][1:]) if entry[1].startswith("*.") else host == entry[1]


def _host(entry: str, setting: str) -> tuple[str, str, int]:
    parts = urlsplit(entry if "://" in entry else f"https://{entry}")
    try:
        host, port = (parts.hostname or "").lower().rstrip("."), parts.port
    except ValueError:
        host, port = "", None
    usable = _HOST.fullmatch(host) or _address(host) is not None
    if parts.scheme not in _PORTS or not usable or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        text = "expected a host such as tools.example.com, https://tools.example.com:8443 or http://127.0.0.1:9000"
        raise ValueError(f"{setting} names {entry!r:.80}: {text}")
    return parts.scheme, host, port or _PORTS[parts.scheme]


def _network(entry: str, setting: str) -> Network:
    try:
        return ipaddress.ip_network(entry)
    except ValueError as error:
        raise ValueError(f"{setting} names {entry!r:.80}: {error}") from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
