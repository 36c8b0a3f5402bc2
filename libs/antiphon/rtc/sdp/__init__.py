"""SDP: the parts of an offer that a call needs, and the answer to it.

`reader` makes sections of lines, `audio` and `transport` find in them what is needed, `offer` decides what is accepted,
`answer` writes it down. Importing this package loads no media library: signaling reads offers with it.
"""

from antiphon.rtc.sdp.answer import Answer as Answer
from antiphon.rtc.sdp.answer import write_answer as write_answer
from antiphon.rtc.sdp.offer import Offer as Offer
from antiphon.rtc.sdp.offer import Section as Section
from antiphon.rtc.sdp.offer import read_offer as read_offer
from antiphon.rtc.sdp.reader import OfferError as OfferError
