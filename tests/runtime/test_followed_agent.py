"""A listener under every agent's name follows the agent that has the session, and no other."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions.followed_agent import MAX_AGENTS, MAX_HELD, FollowedAgent

pytestmark = pytest.mark.pure


def test_messages_of_the_agent_that_has_the_session_are_its_own_and_others_are_not() -> None:
    followed: FollowedAgent[int] = FollowedAgent()
    assert not followed.is_of_session("first", 1), "no agent is known yet"
    assert followed.attached("first") == [1]
    assert followed.is_of_session("first", 2)
    assert not followed.is_of_session("evil", 3)


def test_the_next_agent_s_early_messages_come_with_the_transfer_in_their_order() -> None:
    followed: FollowedAgent[int] = FollowedAgent()
    followed.attached("first")
    for number in range(3):
        assert not followed.is_of_session("next", number)
        assert not followed.is_of_session("evil", -number)
    assert followed.transferred("evil", "evil") == [], "an agent can't transfer what it does not have"
    assert followed.agent == "first"
    assert followed.transferred("first", "next") == [0, 1, 2]
    assert not followed.is_of_session("first", 4)
    assert followed.transferred("next", "evil") == [], "what was held before another transfer is forgotten"


def test_what_is_held_is_bounded() -> None:
    followed: FollowedAgent[int] = FollowedAgent()
    for name in range(MAX_AGENTS + 5):
        for number in range(MAX_HELD + 5):
            followed.is_of_session(f"agent{name}", number)
    assert not followed.is_of_session("agent0", 0, hold=False)
    assert len(followed.attached("agent0")) == MAX_HELD
    followed = FollowedAgent()
    for name in range(MAX_AGENTS + 5):
        followed.is_of_session(f"agent{name}", 1)
    assert followed.attached(f"agent{MAX_AGENTS}") == []
