"""Runs a command, adopts whom its descendants leave behind, and waits for them; ends as the command does.

Natively the scripts run under it: the process 1 of a container may reap orphans late, or never. A pod's init does.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option, argument):
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


prctl(PR_SET_CHILD_SUBREAPER, 1)
command = os.fork()
if command == 0:
    # A script that takes too long tidies up.
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    pid, status = os.wait()
    if pid == command:
        code = os.waitstatus_to_exitcode(status)
        sys.exit(code if code >= 0 else 128 - code)
