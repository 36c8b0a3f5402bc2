"""The operators' console in Chromium: by keyboard, with hostile names in it, and with a file dropped on it."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browsers.page import CONTRASTS, Open, holds
from support.processes.signaling import SignalingProcess, StandIn, StandIns, signaling_process
from support.recorded_call import CALL, recorded_call, summary, timeline

from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

KEY = "the-key-of-the-operator-at-night"
LIVE = f"rtc_{5:024d}"
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.\u0007\u200b" + "é" + "\u0301" * 40 + "A" * 5000


class Stack:
    """What the console shows: one live call, one that has ended, one transceiver. Its owner plays on NATS."""

    def __init__(self, url: str, parts: StandIns) -> None:
        self.url, self._parts = url, parts
        began = time.time() - 62
        self.calls = [summary(LIVE, began=began, slot=5, owner="STAND-IN")]
        self.owner: StandIn = parts.transceiver(5, session_id=LIVE)
        self.drains = parts.operated(self.owner, self.calls)
        self.publish(LIVE, *timeline(began))
        parts.publish(subjects.call_timeline(CALL), messages.encode(timeline()[0]))
        self.end(summary(CALL, state="ended", agent="billing"), "dtls_failed", HOSTILE)

    def publish(self, session_id: str, *entries: messages.Message) -> None:
        for entry in entries:
            self._parts.publish(subjects.call_timeline(session_id), messages.encode(entry))

    def end(self, call: messages.CallSummary, reason: messages.EndReason, cause: str = "") -> None:
        ended = messages.CallEnded(call=call, ended=call.began + 62, reason=reason, cause=cause)
        self._parts.publish(subjects.call_ended(call.session_id), messages.encode(ended))


@pytest.fixture(scope="module")
def stack(bus_url: str) -> Iterator[Stack]:
    parts = StandIns(bus_url)
    with signaling_process(bus_url, ANTIPHON_API_KEYS=KEY) as service:
        yield Stack(service.url, parts)
    parts.close()


@pytest.fixture(scope="module")
def service(stack: Stack) -> SignalingProcess:
    raise AssertionError("these tests have a stack of their own")


@pytest.fixture
def open_console(browser: Browser, stack: Stack) -> Iterator[Open]:
    """Opens the console, signed in; every test also proves that nothing failed and nobody else was asked."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(view: str = "", *, signed_in: bool = True, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        if signed_in:
            answer = context.request.post(
                stack.url + "/v1/operator/session", data={"key": KEY}, headers={"Antiphon-Console": "1"}
            )
            assert answer.ok, answer.text()
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda request: None if local(request.url, stack.url) else complaints.append(request.url))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(f"{stack.url}/console{view}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def local(url: str, own: str) -> bool:
    return url.startswith((own, "blob:"))


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_an_operator_signs_in_finds_a_call_and_ends_it_by_keyboard(open_console: Open, stack: Stack) -> None:
    page = open_console(signed_in=False)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.keyboard.type("no key of this server")
    press(page, "Enter")
    expect(page.locator("#sign-in-problem")).to_contain_text("none of this server's keys")
    page.keyboard.type(KEY)
    press(page, "Enter")
    link = page.get_by_role("link", name=LIVE)
    expect(link).to_be_visible()
    assert "antiphon_operator" not in page.evaluate(
        "document.cookie + JSON.stringify({...sessionStorage, ...localStorage})"
    )
    assert KEY not in page.url
    link.focus()
    press(page, "Enter")
    expect(page.get_by_role("heading", name=LIVE)).to_be_visible()
    page.locator("summary").filter(has_text="Turn 6 at").focus()
    press(page, "Enter")
    parts = page.get_by_role("table", name="Parts of turn 6").inner_text()
    for line in ("Silence that ends the turn\tsetting\t380 ms", "Agent\tagent\t360 ms", "Way down\tnetwork\t15 ms"):
        assert line in parts
    for text in ("hello, question 6?", "interrupted here", "moved", "setup_ms: 212"):
        expect(page.locator("main")).to_contain_text(text)
    expect(page.get_by_role("img", name="Jitter")).to_be_visible()
    page.get_by_role("button", name="Hang up").focus()
    press(page, "Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    press(page, "Escape")
    assert stack.owner.hung_up == []
    page.get_by_role("button", name="Hang up").focus()
    press(page, "Enter", "Tab", "Enter")
    expect(page.locator("#notice")).to_have_text(f"{LIVE} was ended.")
    assert stack.owner.hung_up == [LIVE]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_ended_calls_are_searched_and_hostile_texts_do_no_harm(open_console: Open) -> None:
    page = open_console("#ended")
    row = page.get_by_role("row").filter(has_text=CALL)
    expect(row).to_contain_text("<img src=x onerror=alert(1)>[U+202E]gnp.[U+0007][U+200B]")
    shown = row.inner_text()
    assert len(shown) < 700, "very long ones are cut"
    assert "\u0301\u0301\u0301\u0301" not in shown
    assert page.locator("main img").count() == 0
    page.get_by_label("Search").fill("BILLING dtls")
    expect(row).to_be_visible()
    page.get_by_label("Search").fill("nobody")
    expect(page.get_by_text("No such call.")).to_be_visible()
    page.get_by_label("Search").fill("")
    page.get_by_label("Reason").select_option("dtls_failed")
    expect(row).to_be_visible()
    row.get_by_role("link").click()
    expect(page.get_by_text("No words are kept of this call.")).to_be_visible()
    expect(page.locator("main")).to_contain_text("ended: dtls_failed")


@pytest.mark.nightly
def test_a_process_is_drained_after_a_question(open_console: Open, stack: Stack) -> None:
    page = open_console("#processes")
    button = page.get_by_role("button", name="Drain antiphon-transceiver 0.").first
    button.click()
    page.get_by_role("button", name="Cancel").click()
    assert stack.drains == []
    button.click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(page.locator("#notice")).to_contain_text("drains")
    assert len(stack.drains) == 1


DROP = """async ([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def drop(page: Page, path: Path) -> None:
    import base64

    page.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])


def test_a_recording_is_opened_from_its_file_and_played(open_console: Open, tmp_path: Path) -> None:
    page = open_console("#calls")
    expect(page.get_by_role("heading", name="Live calls")).to_be_visible()
    drop(page, recorded_call(tmp_path, "<b>What</b>\u202e time?"))
    expect(page.get_by_role("heading", name=CALL)).to_be_visible()
    expect(page.locator("main")).to_contain_text("<b>What</b>[U+202E] time?")
    expect(page.locator("main")).to_contain_text("And it – interrupted here")
    expect(page.get_by_text("Turn 1 at")).to_be_visible()
    holds(page, "document.querySelector('audio').duration > 2.9 && document.querySelector('audio').duration < 3.1")
    slider = page.get_by_role("slider")
    slider.focus()
    press(page, "ArrowRight", "ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "2")
    press(page, " ")
    holds(page, "document.querySelector('audio').currentTime > 2.05")
    picture = "document.querySelector('.waves').getContext('2d').getImageData(300, 0, 1, 146).data"
    assert len(set(page.evaluate(f"[...{picture}]"))) > 6, "the waves are drawn"


@pytest.mark.nightly
def test_files_that_are_no_recordings_say_so(open_console: Open, tmp_path: Path) -> None:
    page = open_console("#file")
    good = recorded_call(tmp_path).read_bytes()
    bomb = tmp_path / "bomb.antiphon"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("call.json", '{"format": "antiphon recording", "version": 1}')
        made.writestr("timeline.jsonl", bytes(80 << 20))
    for data, said in (
        (b"hello", "it is no zip archive"),
        (b"", "it is no zip archive"),
        (good[: len(good) // 2], "it is no zip archive"),
        (good.replace(b"PK\x03\x04", b"PK\x09\x09"), "is damaged"),
        (bomb.read_bytes(), "which is all that is read"),
    ):
        path = tmp_path / "file.antiphon"
        path.write_bytes(data)
        drop(page, path)
        expect(page.get_by_role("alert").first).to_contain_text(said)


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_the_console_stands_out(open_console: Open, scheme: str) -> None:
    page = open_console(f"#call/{LIVE}", color_scheme=scheme)
    page.get_by_text("Turn 6 at").click()
    expect(page.get_by_role("table", name="Parts of turn 6")).to_be_visible()
    assert page.evaluate(CONTRASTS) == []
    snapshot = page.locator("body").aria_snapshot()
    for named in (
        'navigation "Views"',
        'region "Turns"',
        'button "Save time line"',
        'heading "Antiphon console" [level=1]',
    ):
        assert named in snapshot, snapshot
