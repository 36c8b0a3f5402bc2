"""Which files with secrets are taken."""

from __future__ import annotations

import os
import stat

import pytest

from antiphon.runtime.private_file import is_private

pytestmark = pytest.mark.pure
ROOT, US = 0, 10001


def found(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, US, 1, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "user", "private"),
    [
        (0o400, US, US, True),
        (0o600, ROOT, ROOT, True),
        (0o440, ROOT, US, True),  # as a kubelet gives a pod its Secrets
        (0o440, US, US, False),
        (0o440, ROOT, ROOT, False),
        (0o460, ROOT, US, False),
        (0o444, ROOT, US, False),
        (0o404, ROOT, US, False),
    ],
)
def test_a_file_is_for_us_alone_or_is_roots_and_for_our_group_to_read(
    mode: int, owner: int, user: int, private: bool
) -> None:
    assert is_private(found(mode, owner), user) is private
