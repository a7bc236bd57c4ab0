"""One table out of a large backup, read by ranges, beside reading all of it: part of ``make
bench``.

Both are ``restore --tables --check``, which loads and compares the table and changes nothing, of
two backups of one database: one with members of its own for each large table, and one without, as
encrypted ones and those of older versions are.
"""

from __future__ import annotations

import argparse
import os
import statistics

from bench.filled import filled
from postgres_backup.backup import cuts
from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.tables import restore_tables

#: a small table, and the largest
TABLES = ("groups", "messages")


def measure(job: Job, names: dict[str, str], rounds: int) -> list[str]:
    """As lines of a table.

    :param names: of the backups, by how they are read.
    """
    lines = [
        "| table | read | of the object | share | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for table in TABLES:
        for how, name in names.items():
            done = [restore_tables(job, name, [table]) for _ in range(rounds)]
            used, whole = done[0]["read_bytes"], done[0]["bytes"]
            seconds = statistics.median(one["seconds"] for one in done)
            lines.append(
                f"| {table}, {how} | {used / 1e6:.1f} MB | {whole / 1e6:.1f} MB "
                f"| {used / whole:.0%} | {seconds:.1f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.tables", description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=8.0, help="8 is about 200 MB of dump")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with filled(arguments.scale) as there:
        names = {"by ranges": there.taken["backup"]}
        cuts.LARGE_BYTES = 1 << 60  # no table is so large
        names["reading all"] = create_backup(Job(there.settings))["backup"]
        print(
            f"One table out of a backup: {os.cpu_count()} CPUs, PostgreSQL "
            f"{there.bench.server.major}, {there.taken['dump_bytes'] / 1e6:.0f} MB of dump\n"
        )
        print("\n".join(measure(Job(there.settings, check=True), names, arguments.rounds)))


if __name__ == "__main__":
    main()
