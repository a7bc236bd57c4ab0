"""What a look at many backups takes, cold and warm: CPU seconds and memory of ``postgres-backup
list``; ``PYTHONPATH=module_utils .venv/bin/python -m bench.looks``, minutes.

The backups are copies of one small one, each with a manifest of its own, as old as they would be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from bench.filled import Filled, filled
from postgres_backup.catalog import signed
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.clock import format_timestamp
from postgres_backup.s3 import calls
from postgres_backup.s3.store import Store

#: how many backups there are
COUNTS = (7, 90, 1000, 10_000)


def fill(there: Filled, manifest: Mapping[str, object], first: int, last: int) -> None:
    """Put the backups that are so many nights old into the bucket.

    :param manifest: of the one that they are copies of.
    """
    layout = Layout(there.settings.s3_prefix)
    began = BackupName.parse(str(manifest["name"]))
    assert began
    body = Store(there.settings).get(layout.backup(began)) or b""
    own = threading.local()  # a store is one thread's

    def begin() -> None:
        own.store = Store(there.settings)

    def put(age: int) -> None:
        store: Store = own.store
        name = BackupName(began.taken_at - timedelta(days=age), began.suffix)
        told = {**manifest, "name": str(name), "started_at": format_timestamp(name.taken_at)}
        store.s3.client.put_object(
            Bucket=there.settings.s3_bucket, Key=layout.backup(name), Body=body
        )
        signed.put(store, calls.DESCRIBE, layout.manifest(name), json.dumps(told).encode())

    with ThreadPoolExecutor(8, initializer=begin) as pool:
        list(pool.map(put, range(first, last)))


def look(config: Path) -> tuple[float, float]:
    """CPU seconds and megabytes of one ``list``."""
    words = [sys.executable, "-m", "postgres_backup", "--config", str(config), "list", "--json"]
    with tempfile.TemporaryFile() as out:
        process = os.posix_spawn(
            sys.executable, words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)]
        )
        _, status, used = os.wait4(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.looks", description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="backups at most")
    arguments = parser.parse_args()
    with filled(0.1) as there:
        store, layout = Store(there.settings), Layout(there.settings.s3_prefix)
        name = BackupName.parse(there.taken["backup"])
        assert name
        manifest = json.loads(store.get(layout.manifest(name)) or b"")
        state = Path(there.settings.state_dir)
        seen = [state / "seen-objects", state / "seen-manifests"]
        config, filled_to = there.bench.config(), 1
        print("| backups | cold | | warm | | kept on disk |\n| --- | --- | --- | --- | --- | --- |")
        for count in [count for count in COUNTS if count <= arguments.most]:
            fill(there, manifest, filled_to, count)
            filled_to = count
            for file in seen:
                file.unlink(missing_ok=True)
            cold, warm = look(config), look(config)
            told = " | ".join(f"{cpu:.2f} s | {size:.0f} MB" for cpu, size in (cold, warm))
            size = sum(file.stat().st_size for file in seen)
            print(f"| {count:,} | {told} | {size / 1e6:.1f} MB |", flush=True)


if __name__ == "__main__":
    main()
