"""All use of pylibsrtp beyond its public interface, under names of ours. No decisions here.

Its cffi binding saves two copies and an allocation per packet (3.5 us instead of 6).
`tests/rtc/test_library_internals.py` is the contract: when an upgrade of the library breaks it, change this file.
"""

from __future__ import annotations

from typing import Any, Final

from cffi import FFI
from pylibsrtp import Session as SrtpSession
from pylibsrtp import _binding

srtp_ffi: Final[Any] = _binding.ffi
srtp_protect: Final[Any] = _binding.lib.srtp_protect
srtp_unprotect: Final[Any] = _binding.lib.srtp_unprotect
srtp_protect_rtcp: Final[Any] = _binding.lib.srtp_protect_rtcp
srtp_unprotect_rtcp: Final[Any] = _binding.lib.srtp_unprotect_rtcp
SRTP_AUTH_FAILED: Final = (7, 8)
"""srtp_err_status_auth_fail and _cipher_fail."""
SRTP_REPLAYED: Final = (9, 10)
"""srtp_err_status_replay_fail and _replay_old of srtp.h, which the binding leaves out."""

SRTP_LIBRARY: Final[str] = _binding.__file__
"""The shared object that all of libsrtp is in, with what the binding leaves out."""

_roc_ffi: Final = FFI()
_roc_ffi.cdef("int srtp_set_stream_roc(void *session, uint32_t ssrc, uint32_t roc);")
_roc_lib: Final[Any] = _roc_ffi.dlopen(SRTP_LIBRARY)


def srtp_context(session: SrtpSession) -> Any:
    """libsrtp's own session, as the four functions above take it; valid as long as `session` lives."""
    return session._srtp[0]


def srtp_address(session: SrtpSession) -> int:
    """Where that is, for code that knows nothing of the binding."""
    return int(srtp_ffi.cast("uintptr_t", srtp_context(session)))


def set_rollover_counter(session: SrtpSession, ssrc: int, roc: int) -> None:
    """By a function that the binding leaves out."""
    _roc_lib.srtp_set_stream_roc(_roc_ffi.cast("void *", srtp_address(session)), ssrc, roc)
