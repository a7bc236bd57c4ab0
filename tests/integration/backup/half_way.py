"""A backup that is under way, and what it came to."""

from __future__ import annotations

import subprocess

from tests.integration import engine
from tests.waiting import wait_for


def as_superuser(config, database):
    return config.change(**database.as_superuser)


def slow(proxy):
    """The store takes parts slowly, each in some seconds: the dump is half-way until ``seconds`` of
    this fault is set to 0.
    """
    return proxy.plan("slow", "PUT", "partNumber=", times=100, seconds=3)


def half_way(client, bucket: str, server) -> int:
    """Wait until parts are on their way and pg_dump is at work; the process number of pg_dump."""
    wait_for("the upload to begin", lambda: engine.unfinished(client, bucket))
    return wait_for("pg_dump", lambda: engine.programs_at_work(server))[0]


def finished(process, seconds: float = 100) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
