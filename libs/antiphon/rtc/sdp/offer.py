"""What of an offer is accepted. One audio section is needed; every other section is used, or declined by itself.

The bundle follows RFC 9143, the answer's parts of each section RFC 3264 and RFC 9429.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from antiphon.rtc.codec import Codec
from antiphon.rtc.sdp import audio
from antiphon.rtc.sdp.audio import REVERSED, Direction
from antiphon.rtc.sdp.reader import Description, OfferError, by_mid, read
from antiphon.rtc.sdp.reader import Section as Offered
from antiphon.rtc.sdp.transport import read_transport

DEFAULT_MAX_MESSAGE: Final = 65_536
"""Octets of a message that a client takes if its offer does not say (RFC 8841 section 6.1)."""
LARGEST_MESSAGE: Final = 1 << 30
"""As good as the 0 of RFC 8841, a client without a limit."""

_PREFERENCE: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")
"""Of several audio sections the one with the microphone."""

Use = Literal["declined", "call", "playback", "idle", "data"]
"""`call`: the caller's audio and, without `playback`, the agent's. `playback`: the agent's, for a client that has it in
a section of its own. `idle`: accepted as inactive, because it carries the bundle."""


class Section(NamedTuple):
    """One m-line of the offer, in its order: the answer needs all of them."""

    kind: str
    protocol: str
    mid: str
    formats: str
    use: Use
    direction: Direction = "inactive"
    """Of the answer."""
    codec_lines: tuple[str, ...] = ()
    """What the answer repeats of an idle section's format."""

    @property
    def accepted(self) -> bool:
        """Its port in the answer is not 0."""
        return self.use != "declined"


class Offer(NamedTuple):
    """The parts of an offer that a session is made from."""

    sections: tuple[Section, ...]
    ufrag: str
    password: str
    """The client's, as it writes them into its ICE checks and takes them in ours."""
    fingerprints: tuple[tuple[str, str], ...]
    client: bool
    """We are to be the DTLS client (the peer offered actpass or passive)."""
    codec: Codec
    codecs: tuple[Codec, ...]
    """All that could be used, `codec` among them."""
    direction: Direction
    """Of the answer's audio: what we do."""
    data_port: int | None
    data_max_message: int
    group: tuple[str, ...] = ()
    """The mids of the answer's BUNDLE, the tagged one first; empty without a bundle."""
    telephone: tuple[int, int] | None = None
    """(payload type, clock rate) of RFC 4733 telephone events."""
    audio_level_id: int | None = None
    """Of the header extension of RFC 6464."""
    audio_level_suffix: str = ""
    """The direction behind that number in the answer."""

    @property
    def bundled(self) -> bool:
        """The answer has a BUNDLE."""
        return bool(self.group)

    def without_data(self) -> Offer:
        """The same with its data channels declined."""
        data = [section.mid for section in self.sections if section.use == "data"]
        sections = tuple(each._replace(use="declined") if each.use == "data" else each for each in self.sections)
        group = tuple(mid for mid in self.group if mid not in data)
        return self._replace(sections=sections, data_port=None, group=group)


def read_offer(text: str, keep: Codec | None = None) -> Offer:
    """Read an offer; OfferError names what is missing, the line, and what to send instead.

    `keep`: the codec of the running call, which another offer goes on with as long as it has it.
    """
    description = read(text)
    _refuse_lite(description.session)
    main, codecs = _main_section(description)
    _refuse_lite(main)
    codec = keep if keep is not None and keep in codecs else codecs[0]
    group = _group_of(main, description)
    members = [section for section in group if section is main or not section.refused]
    data = next((each for each in members if each is not main and data_port(each) is not None), None)
    playback = _playback(main, members, codec, description.session)
    accepted: dict[int, Use] = {id(main): "call"}
    if data is not None:
        accepted[id(data)] = "data"
    if playback is not None:
        accepted[id(playback)] = "playback"
    for each in members:
        # What a running call had accepted stays: a section that is declined is gone for good, also after a hold.
        stays = keep is not None and each.media.kind.lower() == "audio" and _can_idle(each)
        if id(each) not in accepted and (stays or (each is members[0] and _needs(each, main))):
            accepted[id(each)] = "idle"
    tag = next((each for each in members if id(each) in accepted), main)
    transport = read_transport([tag, main, description.session, *members], main)
    wanted = REVERSED[audio.direction(main, description.session)]
    level = audio.audio_level(main, description.session)
    return Offer(
        sections=tuple(_section(each, accepted.get(id(each), "declined"), wanted) for each in description.media),
        ufrag=transport.ufrag,
        password=transport.password,
        fingerprints=transport.fingerprints,
        client=transport.client,
        codec=codec,
        codecs=codecs,
        direction=wanted if playback is None else "sendrecv",
        data_port=data_port(data) if data is not None else None,
        data_max_message=_max_message(data) if data is not None else DEFAULT_MAX_MESSAGE,
        group=tuple(each.mid for each in members if id(each) in accepted),
        telephone=audio.telephone_events(main, codec),
        audio_level_id=level[0] if level is not None else None,
        audio_level_suffix=level[1] if level is not None else "",
    )


def _refuse_lite(section: Offered) -> None:
    """Two lite agents send no checks to each other: both wait (RFC 8445 section 2.5)."""
    for value in section.values("ice-lite"):
        text = "the offer is of an ICE-lite client, as this server is one, and neither would begin: use full ICE"
        raise OfferError("bad_offer", f"{text}; {value.line}")


# ---- audio ---------------------------------------------------------------------------------------------------


def _main_section(description: Description) -> tuple[Offered, tuple[Codec, ...]]:
    """The audio section that the call uses, and its codecs; `OfferError` of the best one if none can be used."""
    if not description.media:
        raise OfferError("no_audio", "the offer has no media section (m=): offer one audio track in both directions")
    sections = [each for each in description.media if each.media.kind.lower() == "audio"]
    if not sections:
        kinds = ", ".join(sorted({each.media.kind or "?" for each in description.media}))
        text = f"the offer has no audio section, only {kinds:.200}: add one audio track"
        raise OfferError("no_audio", f"{text}; {description.media[0].line}")
    wanted = [each for each in sections if not each.refused]
    if not wanted:
        text = "the offer has no audio that its client wants: its port is 0 without a=bundle-only"
        raise OfferError("no_audio", f"{text}; {sections[0].line}")
    wanted.sort(key=lambda each: _PREFERENCE.index(audio.direction(each, description.session)))
    first: OfferError | None = None
    for section in wanted:
        try:
            _check_header(section)
            codecs = audio.codecs(section)
            members = _group_of(section, description)
            read_transport([section, description.session, *members], section)
        except OfferError as error:
            first = first or error
        else:
            return section, codecs
    assert first is not None
    raise first


def _check_header(section: Offered) -> None:
    kind, port, protocol, formats = section.media
    if not kind or port < 0 or not protocol or not formats:
        expected = "m=audio <port> <protocol> <payload types>"
        raise OfferError("bad_offer", f"the offer's audio section can't be read: expected {expected}; {section.line}")
    if not audio.PROTOCOL.fullmatch(protocol):
        text = f"the offer's audio has the protocol {protocol:.60}: UDP/TLS/RTP/SAVPF is expected"
        raise OfferError("bad_offer", f"{text}; {section.line}")


def _playback(main: Offered, members: Sequence[Offered], codec: Codec, session: Offered) -> Offered | None:
    """The section in which a client wants the agent's audio that only sends in `main`."""
    if audio.direction(main, session) != "sendonly":
        return None
    for each in members:
        if each is main or each.media.kind.lower() != "audio" or audio.direction(each, session) != "recvonly":
            continue
        try:
            _check_header(each)
            if codec in audio.codecs(each):
                return each
        except OfferError:
            continue
    return None


# ---- bundle and data -----------------------------------------------------------------------------------------


def _group_of(main: Offered, description: Description) -> list[Offered]:
    """The sections of its BUNDLE, in the order of the group, the tagged one first; empty without one."""
    if not main.mid:
        return []
    known = by_mid(description.media)
    for value in description.session.values("group"):
        semantics, *mids = value.text.split()[: len(description.media) + 1] or [""]
        if semantics.upper() == "BUNDLE" and main.mid in mids and known[main.mid] is main:
            return [known[mid] for mid in dict.fromkeys(mids) if mid in known]
    return []


def _needs(tag: Offered, main: Offered) -> bool:
    """The tagged section has the only transport, so that declining it would end the bundle (RFC 9143 section 7.3.1).

    Such offers are made under the policy max-bundle. Chromium writes the same ones under the others, and refuses an
    answer to them that declines the tagged section, where audio follows it.
    """
    own, shared = ([value.text for value in each.values("ice-ufrag")] for each in (main, tag))
    return _can_idle(tag) and ("bundle-only" in main or not own or own == shared)


def _can_idle(section: Offered) -> bool:
    """It can be accepted as inactive."""
    kind, port, protocol, _ = section.media
    usable = port >= 0 and audio.PROTOCOL.fullmatch(protocol) is not None
    return kind.lower() in ("audio", "video") and usable and bool(_idle_format(section))


def _idle_format(section: Offered) -> tuple[str, ...]:
    """The lines of its first codec, which an answer repeats although nothing is sent; its number comes first."""
    for number, encoding in audio.encodings(section).items():
        if encoding.name in ("rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn"):
            continue
        lines = [f"rtpmap:{value.text}" for value in section.values("rtpmap") if _is_of(value.text, number)]
        lines += [f"fmtp:{value.text}" for value in section.values("fmtp") if _is_of(value.text, number)]
        return (str(number), *lines)
    return ()


def _is_of(value: str, number: int) -> bool:
    return value.split()[:1] == [str(number)] and value.isascii() and value.isprintable()


def data_port(section: Offered) -> int | None:
    """The client's SCTP port, by the attribute of RFC 8841 or the form before it; None: no usable data channels."""
    kind, port, protocol, formats = section.media
    if kind.lower() != "application" or section.refused or port < 0 or "DTLS/SCTP" not in protocol.upper():
        return None
    stated = [value.text for value in section.values("sctp-port")]
    if not stated:
        stated = [value.text.split()[0] for value in section.values("sctpmap") if value.text] or list(formats[:1])
    usable = (int(each) for each in stated if each.isascii() and each.isdecimal() and len(each) <= 5)
    return next((number for number in usable if 0 < number < 1 << 16), None)


def _max_message(section: Offered) -> int:
    for value in section.values("max-message-size"):
        if value.text.isascii() and value.text.isdecimal() and len(value.text) <= 20:
            return min(int(value.text) or LARGEST_MESSAGE, LARGEST_MESSAGE)
    return DEFAULT_MAX_MESSAGE


def _section(offered: Offered, use: Use, wanted: Direction) -> Section:
    idle = _idle_format(offered) if use == "idle" else ()
    kind, _, protocol, formats = offered.media
    answered: dict[Use, Direction] = {"call": wanted, "playback": "sendonly"}
    return Section(
        kind=kind or "application",
        protocol=protocol or "RTP/AVP",
        mid=offered.mid,
        formats=idle[0] if idle else " ".join(formats) or "0",
        use=use,
        direction=answered.get(use, "inactive"),
        codec_lines=idle[1:],
    )
