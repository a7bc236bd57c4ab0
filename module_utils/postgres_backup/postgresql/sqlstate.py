"""Why a server lets nobody in, in letters that are the same in every language: its SQLSTATE.

libpq's text of a connection that failed is the server's message, in the server's language
(``lc_messages``), which only whoever is in may change; psycopg hands out nothing else of it. But
libpq can write down what goes over the wire (PQtrace), and there each error stands with all of its
fields. So where the words say nothing to us, the same is tried once more, and listened to.

The trace holds what a login is proved with. It lies in memory (memfd_create(2)) and is gone with
the attempt.
"""

from __future__ import annotations

import os
import re
import select
import time

import psycopg
from psycopg import pq

#: seconds for such an attempt
_PATIENCE = 10.0
#: bytes of a trace that are read; an error comes soon
_MOST = 1 << 20
#: an error of the server, and its code, in a trace (libpq's fe-trace.c); the severity before it may
#: be in any letters, but for a line's end
_ERROR = re.compile(rb'^B\t\d+\tErrorResponse\t.*? C "([0-9A-Z]{5})" ', re.MULTILINE)


def of_refusal(conninfo: str) -> str:
    """Connect once more, and why that is refused; empty where the server says nothing of it: it is
    not there, or it lets us in now.

    :param conninfo: as libpq takes it.
    """
    trace = os.memfd_create("postgres-backup-trace", os.MFD_CLOEXEC)
    try:
        connection = pq.PGconn.connect_start(conninfo.encode())
        try:
            connection.trace(trace)
            connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            _wait(connection)
            connection.untrace()
        finally:
            connection.finish()
        return code_in(os.pread(trace, _MOST, 0))
    except psycopg.Error:  # a libpq that cannot do it
        return ""
    finally:
        os.close(trace)


def code_in(trace: bytes) -> str:
    """The code of the last error in a trace; empty where there is none."""
    codes = _ERROR.findall(trace)
    return codes[-1].decode() if codes else ""


def _wait(connection: pq.abc.PGconn) -> None:
    """Until it is open or refused, or :data:`_PATIENCE` is over."""
    end = time.monotonic() + _PATIENCE
    while (state := connection.connect_poll()) not in (
        pq.PollingStatus.OK,
        pq.PollingStatus.FAILED,
    ):
        poll = select.poll()
        reads = state == pq.PollingStatus.READING
        poll.register(connection.socket, select.POLLIN if reads else select.POLLOUT)
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            return
