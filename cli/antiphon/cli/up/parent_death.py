"""Sets the parent-death signal, then executes a command: `python -I -S parent_death.py SUPERVISOR_PID COMMAND...`

Linux then kills the process when its supervisor dies in any way (`kill -9` too); nothing else would end it. This is a
program rather than a `preexec_fn`, which runs Python code between fork and exec and may deadlock when the supervisor
has threads. The setting survives the exec. Other systems have no such signal: there the command just starts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    supervisor, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:  # the supervisor died before `prctl`
        sys.exit(1)
    os.execvp(command[0], command)
