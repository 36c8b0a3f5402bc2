"""Every control message on NATS: pydantic models in JSON, each with its schema version.

Fields that a reader does not know are ignored, so that a version can grow optional fields; a version that
a reader does not know is refused. Each file holds the messages of one purpose; all are imported from here.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from antiphon.schemas.messages.agents import CLAIM_VERSION, AgentBeat, Claim, ClaimReply, Lease
from antiphon.schemas.messages.announcements import Place, RelayAnnouncement, TransceiverAnnouncement
from antiphon.schemas.messages.control import CONTROL, Control, ControlReply, Flush, HangUp, Pause, Resume, Transfer
from antiphon.schemas.messages.copies import CopyLease, CopyReply, LeaseRegister, StoreCopy
from antiphon.schemas.messages.data import EVENTS_CHANNEL, DataMessage
from antiphon.schemas.messages.events import (
    SESSION_EVENT,
    AudioLevel,
    ChannelOpened,
    ClaimExpired,
    Connected,
    Draining,
    Ended,
    EndReason,
    Flushed,
    MediaStarted,
    Playout,
    PlayoutOverflow,
    SessionError,
    SessionEvent,
    Statistics,
    Suspect,
    TakenOver,
    TelephoneEvent,
    TransferFailed,
    Transferred,
)
from antiphon.schemas.messages.failover import Adopt, SlotMoved, TakeOver
from antiphon.schemas.messages.flows import FlowFind, FlowOwner
from antiphon.schemas.messages.message import (
    MAX_MESSAGE_BYTES,
    MESSAGE_VERSION,
    AnyMessage,
    AudioRate,
    Message,
    decode,
    decode_any,
    encode,
)
from antiphon.schemas.messages.opening import (
    ANY_CREATOR,
    OPEN_REPLY,
    Attach,
    AttachReply,
    CallStatus,
    IceCredentials,
    Opened,
    OpenReply,
    OpenRequest,
    Refused,
    may_manage,
)
from antiphon.schemas.messages.slots import NumberClaim, SlotClaim
from antiphon.schemas.messages.statistics import RelayStatistics

__all__ = [
    "ANY_CREATOR",
    "CLAIM_VERSION",
    "CONTROL",
    "EVENTS_CHANNEL",
    "MAX_MESSAGE_BYTES",
    "MESSAGES",
    "MESSAGE_VERSION",
    "OPEN_REPLY",
    "SESSION_EVENT",
    "Adopt",
    "AgentBeat",
    "AnyMessage",
    "Attach",
    "AttachReply",
    "AudioLevel",
    "AudioRate",
    "CallStatus",
    "ChannelOpened",
    "Claim",
    "ClaimExpired",
    "ClaimReply",
    "Connected",
    "Control",
    "ControlReply",
    "CopyLease",
    "CopyReply",
    "DataMessage",
    "Draining",
    "EndReason",
    "Ended",
    "FlowFind",
    "FlowOwner",
    "Flush",
    "Flushed",
    "HangUp",
    "IceCredentials",
    "Lease",
    "LeaseRegister",
    "MediaStarted",
    "Message",
    "NumberClaim",
    "OpenReply",
    "OpenRequest",
    "Opened",
    "Pause",
    "Place",
    "Playout",
    "PlayoutOverflow",
    "Refused",
    "RelayAnnouncement",
    "RelayStatistics",
    "Resume",
    "SessionError",
    "SessionEvent",
    "SlotClaim",
    "SlotMoved",
    "Statistics",
    "StoreCopy",
    "Suspect",
    "TakeOver",
    "TakenOver",
    "TelephoneEvent",
    "TransceiverAnnouncement",
    "Transfer",
    "TransferFailed",
    "Transferred",
    "decode",
    "decode_any",
    "encode",
    "may_manage",
]

MESSAGES: Final[dict[str, TypeAdapter[Any]]] = {
    **{
        model.__name__: TypeAdapter(model)
        for model in (
            TransceiverAnnouncement,
            RelayAnnouncement,
            RelayStatistics,
            NumberClaim,
            SlotClaim,
            TakeOver,
            Adopt,
            SlotMoved,
            StoreCopy,
            CopyReply,
            CopyLease,
            LeaseRegister,
            OpenRequest,
            Attach,
            AttachReply,
            HangUp,
            CallStatus,
            Claim,
            ClaimReply,
            Lease,
            AgentBeat,
            ControlReply,
            DataMessage,
            FlowFind,
            FlowOwner,
        )
    },
    "OpenReply": OPEN_REPLY,
    "Control": CONTROL,
    "SessionEvent": SESSION_EVENT,
}
"""Every message by name, for `antiphon schema export` and the property tests."""
