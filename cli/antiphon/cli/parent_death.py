"""Ties a process to its supervisor, then becomes the command: `python -I -S tether.py SUPERVISOR_PID COMMAND...`

Linux kills the process when the supervisor dies, however it dies (`kill -9` too), because nobody else would
end it then. This is a program of its own rather than a `preexec_fn`, which runs Python code between fork and
exec and may deadlock when the supervisor has threads. The setting survives the exec. Other systems have
no such thing: there the command simply starts.
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
    if os.getppid() != supervisor:  # it died before the setting was made
        sys.exit(1)
    os.execvp(command[0], command)
