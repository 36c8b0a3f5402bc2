"""Headless Chromium with a WAV file as its microphone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from support.conditions import wait_until

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""No start-up traffic to anywhere."""


@contextmanager
def chromium_page(microphone: Path, within: Sequence[str] = (), trusted: str = "") -> Iterator[Page]:
    """A page whose microphone plays `microphone` (48 kHz mono 16-bit WAV) once, from the moment it is opened.

    `within`: a command to run the browser by. `trusted`: an address with `http:` whose pages may use the microphone.
    """
    arguments = [
        *QUIET,
        *([f"--unsafely-treat-insecure-origin-as-secure={trusted}"] if trusted else []),
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        "--autoplay-policy=no-user-gesture-required",
    ]
    program = CHROMIUM
    if within:
        script = microphone.with_name("chromium-within")
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*within, CHROMIUM])} "$@"\n')
        script.chmod(0o755)
        program = str(script)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser.new_page()
        finally:
            browser.close()


def wait_for(page: Page, expression: str, seconds: float = 45) -> None:
    """Until the JavaScript expression is true. From here, because the page's policy forbids it to evaluate text."""
    try:
        wait_until(lambda: page.evaluate(expression), seconds)
    except TimeoutError:
        seen = page.evaluate(
            "JSON.stringify([window.antiphon.state, window.antiphon.problem, window.antiphon.transcripts])"
        )
        raise AssertionError(f"not within {seconds:.0f} s: {expression}; the page: {seen}") from None
