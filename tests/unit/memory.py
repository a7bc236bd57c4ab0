"""How much memory a piece of work takes, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def peak_of(program, *arguments):
    """MB of memory at most, of a Python process that runs ``program``; not ru_maxrss, which begins
    with the parent's.
    """
    tell = "\nprint(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    command = [sys.executable, "-c", textwrap.dedent(program) + tell, *arguments]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) // 1024
