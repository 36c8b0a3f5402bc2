"""The request headers in which a proxy says where its client is. Pure.

Such a header is worth what the proxy is: `http.forwarded` reads it from trusted proxies only.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers

from antiphon.signaling.placement.geography import Coordinates, coordinates_in, coordinates_of

PRESETS: Final = {
    "cloudflare": "cf-iplatitude,cf-iplongitude",
    "google": "x-client-city-lat-long",
    "fastly": "client-geo-latitude,client-geo-longitude",
    "aws": "cloudfront-viewer-latitude,cloudfront-viewer-longitude",
    "none": "",
}
"""Names of `ANTIPHON_PLACE_HEADERS`; docs/global-relay.placement.md says what has to be set at each provider.

- Cloudflare: Managed Transform "Add visitor location headers".
- Google: a custom request header with the variable `{client_city_lat_long}`; the name is the operator's.
- Fastly: set from `client.geo.latitude` and `client.geo.longitude`; the names are those of its own example.
- AWS: CloudFront adds them where the origin request policy names them.
"""
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")


class PlaceHeaders:
    """Which headers are read. Made by `Settings`, a value; anybody may call."""

    def __init__(self, text: str = "") -> None:
        """`text`: a preset, `<latitude header>,<longitude header>`, or one header that holds both. ValueError else."""
        names = PRESETS.get(text.strip().lower(), text.lower())
        self._names = tuple(name.strip() for name in names.split(",")) if names.strip() else ()
        # A single word is more likely a preset that is misspelled than a header.
        misspelled = len(self._names) == 1 and "-" not in self._names[0]
        if len(self._names) > 2 or misspelled or not all(map(_NAME.fullmatch, self._names)):
            raise ValueError(
                f"ANTIPHON_PLACE_HEADERS is {text!r:.160}: expected {', '.join(PRESETS)}, "
                "<latitude header>,<longitude header>, or one header such as x-lat-long that holds both"
            )

    def __bool__(self) -> bool:
        return bool(self._names)

    def read(self, headers: Headers) -> Coordinates | None:
        """Where the client is; None where the headers are missing, doubled or hold no place.

        A doubled one is not believed: one of the two may be the client's own.
        """
        values = [headers.getlist(name) for name in self._names]
        if not values or any(len(each) != 1 for each in values):
            return None
        texts = [each[0] for each in values]
        return coordinates_of(texts[0], texts[1]) if len(texts) == 2 else coordinates_in(texts[0])
