"""The page by keyboard, to a screen reader, in both colour schemes, on a small screen, without motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from support.browsers.page import CONTRASTS, CONVERSATION, Open, connect, holds, state

pytestmark = pytest.mark.process


def test_everything_works_from_the_keyboard(ready: Page) -> None:
    def focused() -> str:
        return str(ready.evaluate("document.activeElement.id"))

    order = []
    for _ in range(3):
        ready.keyboard.press("Tab")
        order.append(focused())
    assert order == ["agent", "call", "scroll"]
    assert ready.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    ready.keyboard.press("Shift+Tab")
    ready.keyboard.press("Enter")
    holds(ready, "window.fakePeer?.answer")
    ready.evaluate("fakePeer.become('connected'); fakePeer.open()")
    expect(ready.get_by_role("button", name="End call")).to_be_focused()
    for _ in range(2):
        ready.keyboard.press("Tab")
    assert focused() == "text"
    ready.keyboard.type("hello")
    ready.keyboard.press("Enter")
    assert ready.evaluate("fakePeer.channel.sent.length") == 2
    ready.locator("#call").focus()
    ready.keyboard.press("Space")
    assert state(ready) == "ended"


def test_everything_has_a_name_for_a_screen_reader(ready: Page) -> None:
    snapshot = ready.locator("body").aria_snapshot()
    for named in (
        'heading "Antiphon" [level=1]',
        'combobox "Agent"',
        'button "Start call"',
        "status: Ready. Press the button and speak.",
        'heading "Conversation" [level=2]',
        'textbox "Type instead of speaking"',
        'button "Send" [disabled]',
        "term: Setup",
        "term: Answer",
    ):
        assert named in snapshot, snapshot
    assert ready.locator("html").get_attribute("lang") == "en"
    assert ready.evaluate("document.querySelectorAll('img:not([alt])').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    connect(page)
    page.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    page.evaluate("fakePeer.say({type: 'error', error: {message: 'something'}})")
    expect(page.get_by_role("listitem")).to_have_count(2)
    assert page.evaluate(CONTRASTS) == []


def test_a_small_screen_shows_all_without_sideways_scrolling(open_page: Open) -> None:
    page = open_page(viewport={"width": 320, "height": 640})
    connect(page)
    page.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


PILED = """() => {
  const box = (selector) => document.querySelector(selector).getBoundingClientRect();
  const [call, talk, scroll, type, numbers] = [".call", ".talk", "#scroll", "#type", ".numbers"].map(box);
  return {
    below: [talk.top - call.bottom, type.top - scroll.bottom, talk.bottom - type.bottom, numbers.top - talk.bottom],
    conversation: scroll.height,
  };
}"""


@pytest.mark.parametrize("height", [480, 640, 700, 800])
def test_on_a_telephone_nothing_lies_over_anything_and_the_conversation_can_be_read(
    open_page: Open, height: int
) -> None:
    page = open_page(viewport={"width": 360, "height": height})
    connect(page)
    page.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    expect(page.get_by_role("listitem")).to_have_count(2)
    piled = page.evaluate(PILED)
    assert min(piled["below"]) >= 0
    assert piled["conversation"] >= 120


def test_nothing_moves_for_those_who_want_no_motion(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.getElementById('mic-level'), '::after').transitionDuration") == "0s"
