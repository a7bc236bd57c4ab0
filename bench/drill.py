"""What a drill costs: ``PYTHONPATH=module_utils .venv/bin/python -m bench.drill``, minutes.

Three bars, in turns in one run: a drill with ``--fast`` beside a restore without its swap (at most
1.2 times), what a gentle drill says that a restore takes beside what it takes (within 30 percent),
and a constant query of the live database while a gentle drill runs beside the same without one (at
most 10 percent slower).
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.synchronize
import os
import statistics
import time

import psycopg

from bench.filled import filled
from postgres_backup.drill.database import drill_database
from postgres_backup.job import Job
from postgres_backup.restore.side_database import discard_side_database
from postgres_backup.restore.steps import load_step
from postgres_backup.settings import Settings

#: what the live database is asked, every so many seconds
QUESTION = "SELECT count(*), sum(n) FROM generate_series(1, 5000) n"
EVERY = 0.02
#: seconds for which it is asked without a drill, between two drills
QUIET = 8.0


def ask(
    dsn: str, drilling: multiprocessing.synchronize.Event, ended: multiprocessing.synchronize.Event
) -> tuple[list[float], list[float]]:
    """Milliseconds of each answer: without a drill, and while one runs."""
    answers: tuple[list[float], list[float]] = ([], [])
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not ended.is_set():
            during, began = drilling.is_set(), time.monotonic()
            connection.execute(QUESTION)
            took = time.monotonic() - began
            if during == drilling.is_set():
                answers[during].append(took * 1000)
            time.sleep(EVERY)
    return answers


def restored(job: Job) -> float:
    """Seconds of a restore up to its swap."""
    began = time.monotonic()
    loaded = load_step(job, "latest")
    seconds = time.monotonic() - began
    discard_side_database(job, loaded["side_database"])
    return seconds


def measure(settings: Settings, dsn: str, rounds: int) -> list[str]:
    """The three bars, as lines of a table."""
    restores, fast, said = [], [], []
    context = multiprocessing.get_context("spawn")
    with context.Manager() as shared, context.Pool(1) as pool:
        drilling, ended = shared.Event(), shared.Event()
        for _ in range(rounds):
            restores.append(restored(Job(settings)))
            fast.append(drill_database(Job(settings), fast=True)["seconds"])
        asking = pool.apply_async(ask, (dsn, drilling, ended))
        for _ in range(rounds):
            time.sleep(QUIET)
            drilling.set()
            said.append(drill_database(Job(settings))["restore_seconds"] or 0.0)
            drilling.clear()
        time.sleep(QUIET)
        ended.set()
        quiet, during = (statistics.median(times) for times in asking.get())
    restore, quick, told = (statistics.median(times) for times in (restores, fast, said))
    return [
        "| | | beside | ratio | bar |",
        "| --- | --- | --- | --- | --- |",
        f"| drill --fast | {quick:.1f} s | {restore:.1f} s | {quick / restore:.2f} | 1.2 |",
        f"| told by a drill | {told:.1f} s | {restore:.1f} s | {told / restore:.2f} | 0.7-1.3 |",
        f"| a query meanwhile | {during:.2f} ms | {quiet:.2f} ms | {during / quiet:.2f} | 1.1 |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.drill", description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=8.0, help="8 is about 200 MB of dump")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with filled(arguments.scale) as there:
        print(
            f"{os.cpu_count()} CPUs, PostgreSQL {there.bench.server.major}, "
            f"{there.taken['dump_bytes'] / 1e6:.0f} MB of dump\n"
        )
        print("\n".join(measure(there.settings, there.dsn, arguments.rounds)))


if __name__ == "__main__":
    main()
