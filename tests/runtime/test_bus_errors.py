"""`BUS_ERRORS` catches all by which a call on NATS fails, and no mistake of ours."""

from __future__ import annotations

import asyncio

import nats.errors
import nats.js.errors
import pytest

from antiphon.runtime.nats.errors import BUS_ERRORS

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "error",
    [
        nats.errors.ConnectionClosedError,
        nats.errors.NoRespondersError,
        nats.errors.TimeoutError,
        nats.js.errors.KeyWrongLastSequenceError,
        nats.js.errors.KeyNotFoundError,
        nats.js.errors.ServiceUnavailableError,
        nats.js.errors.BucketNotFoundError,
        asyncio.TimeoutError,
        TimeoutError,
        ConnectionResetError,
    ],
)
def test_what_a_call_on_nats_may_raise_is_one_of_them(error: type[Exception]) -> None:
    assert issubclass(error, BUS_ERRORS)


@pytest.mark.parametrize("error", [ValueError, AssertionError, asyncio.CancelledError])
def test_our_own_mistakes_and_a_cancellation_are_not(error: type[BaseException]) -> None:
    assert not issubclass(error, BUS_ERRORS)
