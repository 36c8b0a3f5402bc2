"""All use of aiortc's SDP parser beyond its public interface. No decisions here.

`tests/rtc/test_library_internals.py` is the contract: when an upgrade of the library breaks it, change this file.
"""

from __future__ import annotations

from aiortc.sdp import MediaDescription, SessionDescription

__all__ = ["MediaDescription", "SessionDescription"]
