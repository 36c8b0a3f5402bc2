"""Whether a file with a secret is for us alone. Standard library only: a relay reads its settings before all else."""

from __future__ import annotations

import os
import stat


def is_private(found: os.stat_result, user: int | None = None) -> bool:
    """Others can neither read nor write the file. `user`: who we are, by default the user of this process.

    One exception: root's file that a group may read, while we are not root. So a kubelet gives a pod its Secrets
    (`fsGroup`): it can't make us the owner, and the group is this pod's.
    """
    shared = stat.S_IMODE(found.st_mode) & 0o077
    return not shared or (
        shared == stat.S_IRGRP and found.st_uid == 0 and (os.geteuid() if user is None else user) != 0
    )
