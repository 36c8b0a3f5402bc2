"""A microphone that is lost, muted or changed during a call: the page takes the next one, or says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.browsers.page import Open, alert, connect, holds

pytestmark = pytest.mark.process

FAKE_MICROPHONES = (Path(__file__).parent / "fake_microphones.js").read_text()
SECOND = "{kind: 'audioinput', deviceId: 'two', groupId: 'b', label: 'Second'}"
SETTLED_MS = 400
"""A little longer than the page waits for a change of the devices to be over."""
ANEW_MS = 3100
"""A little longer than the page waits before it asks for a muted or held microphone again."""


@pytest.fixture
def called(open_page: Open) -> Page:
    """The page in a call, its clock stopped."""
    page = open_page()
    page.add_init_script(FAKE_MICROPHONES)
    page.clock.install()
    page.reload()
    expect(page.get_by_label("Agent")).to_have_value("concierge")
    connect(page)
    return page


def sent(page: Page) -> list[str]:
    """The devices whose tracks were sent, in their order; all in one call."""
    devices: list[str] = page.evaluate("fakePeer.sent.map((track) => track.label)")
    assert page.evaluate("fakePeer.did.filter((what) => what === 'offer').length") == 1
    return devices


def test_the_microphone_in_use_is_named(called: Page) -> None:
    expect(called.get_by_text("Microphone: First.")).to_be_visible()


def test_the_next_microphone_is_taken_without_a_new_call(called: Page) -> None:
    called.evaluate(f"microphones.devices = [{SECOND}]; microphones.tracks[0].end()")
    holds(called, "fakePeer.sent.length === 2")
    assert sent(called) == ["First", "Second"]
    alert(called).to_have_text("")
    expect(called.get_by_text("Microphone: Second.")).to_be_visible()


def test_without_another_microphone_the_page_says_so_until_there_is_one(called: Page) -> None:
    called.evaluate("microphones.devices = []; microphones.tracks[0].end()")
    alert(called).to_contain_text("The microphone is gone: the agent hears nothing. Connect one")
    expect(called.get_by_label("Type instead of speaking")).to_be_enabled()
    called.evaluate(f"microphones.change({SECOND})")
    called.clock.run_for(SETTLED_MS)
    alert(called).to_have_text("")
    assert sent(called) == ["First", "Second"]


def test_a_track_that_ended_without_an_event_is_noticed(called: Page) -> None:
    called.evaluate(f"microphones.devices = [{SECOND}]; microphones.tracks[0].stop()")
    called.clock.run_for(1100)
    holds(called, "fakePeer.sent.length === 2")


def test_a_device_that_is_no_longer_listed_is_noticed(called: Page) -> None:
    called.evaluate(f"microphones.change({SECOND})")
    called.clock.run_for(SETTLED_MS)
    holds(called, "fakePeer.sent.length === 2")
    assert sent(called) == ["First", "Second"]


def test_another_device_beside_the_one_in_use_changes_nothing(called: Page) -> None:
    called.evaluate(f"microphones.change(microphones.devices[0], {SECOND})")
    called.clock.run_for(SETTLED_MS + 2000)
    assert called.evaluate("microphones.asked") == 1


def test_the_system_s_choice_is_followed(called: Page) -> None:
    called.evaluate(
        """() => {
          const byDefault = (groupId, label) => ({kind: 'audioinput', deviceId: 'default', groupId, label});
          microphones.change(byDefault('a', 'Built in'));
        }"""
    )
    called.clock.run_for(SETTLED_MS)  # the track's own device is not listed: the default is taken
    holds(called, "fakePeer.sent.length === 2")
    holds(called, "antiphon.microphone.label === 'Built in'")
    called.evaluate("microphones.change({kind: 'audioinput', deviceId: 'default', groupId: 'b', label: 'Headset'})")
    called.clock.run_for(SETTLED_MS)
    holds(called, "fakePeer.sent.length === 3")
    assert sent(called) == ["First", "Built in", "Headset"]


def test_a_muted_microphone_is_told_of_and_a_short_mute_is_not(called: Page) -> None:
    called.evaluate("microphones.devices[0].muted = true; microphones.tracks[0].mute(true)")
    called.clock.run_for(500)
    called.evaluate("microphones.tracks[0].mute(false)")
    called.clock.run_for(2000)
    alert(called).to_have_text("")
    called.evaluate("microphones.tracks[0].mute(true)")
    called.clock.run_for(2100)
    alert(called).to_contain_text("The microphone is muted")
    called.evaluate("microphones.tracks[0].mute(false)")
    alert(called).to_have_text("")
    assert sent(called) == ["First"]


def test_a_microphone_that_stays_muted_is_opened_anew_and_kept_where_that_does_not_help(called: Page) -> None:
    called.evaluate("microphones.devices[0].muted = true; microphones.tracks[0].mute(true)")
    called.clock.run_for(10_000)
    alert(called).to_contain_text("The microphone is muted")
    assert sent(called) == ["First"]
    assert 2 <= called.evaluate("microphones.asked") <= 5
    called.evaluate("microphones.devices[0].muted = false")
    called.clock.run_for(ANEW_MS + 1000)
    alert(called).to_have_text("")
    assert sent(called) == ["First", "First"]


def test_a_held_microphone_is_asked_for_until_it_is_free(called: Page) -> None:
    called.evaluate("microphones.refusal = 'NotReadableError'; microphones.tracks[0].end()")
    alert(called).to_contain_text("Another program may hold it")
    called.evaluate("microphones.refusal = null")
    called.clock.run_for(ANEW_MS + 1000)
    alert(called).to_have_text("")
    assert sent(called) == ["First", "First"]


def test_a_caller_who_refuses_is_not_asked_again(called: Page) -> None:
    called.evaluate("microphones.refusal = 'NotAllowedError'; microphones.tracks[0].end()")
    alert(called).to_contain_text("Allow it for this page")
    called.evaluate(f"microphones.change({SECOND})")
    called.clock.run_for(20_000)
    assert called.evaluate("microphones.asked") == 2


def test_many_changes_at_once_ask_once_and_again_when_that_is_answered(called: Page) -> None:
    called.evaluate(
        "microphones.gate = new Promise((open) => { window.open_gate = open; }); microphones.tracks[0].end()"
    )
    called.evaluate("for (let n = 0; n < 5; n++) microphones.change(microphones.devices[0])")
    called.clock.run_for(SETTLED_MS)
    assert called.evaluate("microphones.asked") == 2
    called.evaluate("microphones.gate = null; open_gate()")
    holds(called, "fakePeer.sent.length === 2")
    assert called.evaluate("microphones.asked") == 2


def test_after_the_call_nobody_is_asked_for_a_microphone(called: Page) -> None:
    called.get_by_role("button", name="End call").click()
    called.evaluate(f"microphones.tracks[0].end(); microphones.change({SECOND})")
    called.clock.run_for(10_000)
    assert called.evaluate("microphones.asked") == 1
    assert called.evaluate("microphones.tracks.map((track) => track.readyState)") == ["ended"]
