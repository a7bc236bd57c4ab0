"""Takes the clock of a virtual machine from one moment to the next, as of a laptop that is opened
now and then, and lets all that is due run to its end each time. Standard library only.

    python3 steps.py [--unarchived] SECONDS_SINCE_1970...

With ``--unarchived`` what waits for its way into the archive may wait.
What sleeps until a time of day looks at the clock again within a minute by itself; cron and
PostgreSQL are woken for it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: by its own clock, which nobody sets: seconds that what is due may take, and without anything at
#: work that are rest
PATIENCE, REST = 600, 2.0
#: of systemd's services
GROUPS = Path("/sys/fs/cgroup/system.slice")


def main() -> int:
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text():
        print("this would be the clock of a real machine", file=sys.stderr)
        return 2
    words = sys.argv[1:]
    archived = words[:1] != ["--unarchived"]
    for moment in map(float, words if archived else words[1:]):
        if moment > time.time():  # where it has come there by itself, cron has called too
            time.clock_settime(time.CLOCK_REALTIME, moment)
            wake()
            wait("a job of cron's", jobs)
        rest(jobs if not archived else at_work)
    return 0


def wake() -> None:
    """Let them look at the clock."""
    os.kill(processes("cron.service")[0], signal.SIGCHLD)
    for pid in processes("system-postgresql.slice/*.service"):
        if "checkpointer" in command(pid):
            os.kill(pid, signal.SIGHUP)


def processes(service: str) -> list[int]:
    """Of a service, the oldest first."""
    found = [int(pid) for one in GROUPS.glob(f"{service}/cgroup.procs") for pid in one.open()]
    return sorted(found)


def command(pid: int) -> str:
    """Its words; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def jobs() -> list[int]:
    """What cron and the timer have started."""
    return processes("cron.service")[1:] + processes("postgres-backup-watch.service")


def at_work() -> list[str]:
    """What runs, or waits for its way into the archive."""
    archived = [command(pid) for pid in processes("system-postgresql.slice/*.service")]
    waits = Path("/var/lib/postgresql").glob("*/main/pg_wal/archive_status/*.ready")
    return [
        *map(command, jobs()),
        *(words for words in archived if "pgbackrest" in words),
        *map(str, waits),
    ]


def rest(at_work: Callable[[], list]) -> None:
    """Wait until nothing has been at work for a while."""
    quiet = time.monotonic()

    def rested() -> bool:
        nonlocal quiet
        if at_work():
            quiet = time.monotonic()
        return time.monotonic() - quiet > REST

    wait("rest", rested)


def wait(what: str, condition: Callable[[], object]) -> None:
    """:raises SystemExit: it was not true in time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {PATIENCE} s for {what}; at work: {at_work()}")
        time.sleep(0.5)  # to look costs what is looked at its time


if __name__ == "__main__":
    sys.exit(main())
