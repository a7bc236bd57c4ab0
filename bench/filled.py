"""A PostgreSQL with the sample and an S3 server with one backup of it, for what is measured in this
process.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.__main__ import DATABASE, ROOT, Bench
from demo import sample
from postgres_backup.backup.database import BackupResult, create_backup
from postgres_backup.job import Job
from postgres_backup.machine import config_file
from postgres_backup.s3 import bucket
from postgres_backup.settings import Settings


class Filled(NamedTuple):
    """``dsn``: of the database; ``taken``: the backup."""

    bench: Bench
    dsn: str
    settings: Settings
    taken: BackupResult


@contextlib.contextmanager
def filled(scale: float) -> Iterator[Filled]:
    """Gone after the block.

    :param scale: of the sample.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder:
        bench = Bench(Path(folder), scale)
        try:
            bench.server.start()
            bench.s3.start()
            bench.server.execute(f"CREATE DATABASE {DATABASE}")
            dsn = bench.server.dsn(DATABASE)
            sample.load(dsn, scale=scale)
            bench.server.execute("VACUUM ANALYZE", DATABASE)
            settings = config_file.load(str(bench.config()))
            job = Job(settings)
            bucket.create(job.store.s3)
            yield Filled(bench, dsn, settings, create_backup(job))
        finally:
            bench.s3.stop()
            bench.server.remove()
