"""How much of a server a load takes: sessions that build indexes, and the memory of each."""

from __future__ import annotations

import dataclasses
import os

from ..settings import LOCAL_HOSTS, Settings

#: sessions at most, however many processors there are
MOST_SESSIONS = 8
#: memory of all sessions together: where the server runs on this machine, a part of what nobody
#: needs now, up to a bound beyond which sorts gain little; elsewhere nobody here knows what it has
_PART, _MOST_KB, _ELSEWHERE_KB = 8, 2 << 20, 256 << 10
#: what one session is given at most, kB
_MOST_OF_ONE_KB = 1 << 20
_AVAILABLE = "MemAvailable:"
#: how long who works beside a load waits for a table that it has locked, milliseconds: less than
#: what a server lets go by before it looks for a circle of those who wait, and ends one of them
#: (deadlock_timeout)
LOCK_WAIT_MS = 100


@dataclasses.dataclass(frozen=True)
class Effort:
    """:ivar sessions: that build indexes at once, the one that loads among them.
    :ivar processors: of this machine, over which sessions and their helpers are spread.
    :ivar memory_kb: ``maintenance_work_mem`` of each session, where the server's own is less; 0:
        the server's own.
    """

    sessions: int = 1
    processors: int = 1
    memory_kb: int = 0

    @property
    def statements(self) -> bytes:
        """What tells a session of it. Where the database or its server has no helpers (0), there
        are none.
        """
        return b"""
SELECT pg_catalog.set_config(name, wanted, false)
    FROM pg_catalog.pg_settings JOIN (VALUES ('maintenance_work_mem', '%d'),
        ('max_parallel_maintenance_workers', '%d')) AS more (name, wanted) USING (name)
    WHERE setting::pg_catalog.int8 < wanted::pg_catalog.int8 AND setting <> '0'""" % (
            self.memory_kb,
            self.processors if self.memory_kb else 0,
        )

    def is_filled_by(self, sessions: int) -> bool:
        """Whether so many sessions at work leave no processor to others."""
        return sessions >= self.processors

    def helpers(self, tables: int) -> int:
        """How many more processes one statement may take where so many tables are at work."""
        return max(0, -(-self.processors // max(1, tables)) - 1)


#: nothing beyond what the server gives everybody
GENTLE = Effort()


def effort_of(settings: Settings) -> Effort:
    """What a restore takes."""
    processors = min(os.cpu_count() or 1, MOST_SESSIONS)
    sessions = settings.restore_jobs or processors
    memory = _free_kb() // _PART if _is_here(settings) else _ELSEWHERE_KB
    one = min(memory, _MOST_KB) // sessions
    return Effort(sessions, processors, min(one, _MOST_OF_ONE_KB))


def _is_here(settings: Settings) -> bool:
    host = settings.db_host
    return (host in LOCAL_HOSTS or host.startswith("/")) and not settings.db_container


def _free_kb() -> int:
    """Memory that nobody needs now; 0 where the kernel does not say."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith(_AVAILABLE):
                return int(line.split()[1])
    return 0
