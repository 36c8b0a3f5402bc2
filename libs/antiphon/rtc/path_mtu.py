"""How long our datagrams may be, so that they pass every path that a call can take. Constants only.

The longest way is that over two relays: between them a datagram has 36 bytes in front, the header of an IPv6 client
with its route and a tag (`antiphon.schemas.backbone`). All calls keep to it, not only those over two hops: a call can
change between one hop and two at any packet, what its association has cut into chunks stays as it is cut, and 4 bytes
less of 1200 cost nothing that could be measured.
"""

from __future__ import annotations

from typing import Final

from antiphon.schemas import backbone, tunnel

PATH_MTU: Final = 1280
"""The least that an IPv6 link carries (RFC 8200 section 5); IPv4 paths of today carry as much."""
IPV6_AND_UDP: Final = 40 + 8
TUNNEL: Final = tunnel.IPV6_HEADER + backbone.ROUTE_BYTES + backbone.TAG_BYTES
"""36: the longest header in front of a client's datagram."""
MAX_DATAGRAM: Final = PATH_MTU - IPV6_AND_UDP - TUNNEL
"""1196 bytes of a client's datagram: of the handshake, a record, or a packet of RTP."""
DTLS_RECORD: Final = 13 + 8 + 16
"""What AES-GCM adds to an application's data: record header, explicit nonce, tag (RFC 6347 4.1, RFC 5288 section 3)."""
SCTP_DATA: Final = 12 + 16
"""Common header and header of one DATA chunk (RFC 9260 sections 3.1 and 3.3.1)."""
MAX_USER_DATA: Final = MAX_DATAGRAM - DTLS_RECORD - SCTP_DATA
"""1131 bytes of a message in one DATA chunk."""
