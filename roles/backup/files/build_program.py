#!/usr/bin/env python3
"""Packs the package into one file that Python runs: build_program.py FOLDER TARGET.

The same sources give the same bytes, whoever packs them, whenever and wherever: names in order, one
date, one mode, no compression (zlib's output differs between versions). So an unchanged program
stays unchanged on a server.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

#: the earliest that a zip file can say
DATE = (1980, 1, 1, 0, 0, 0)
#: folders that no server needs
NOT_PACKED = ("page", "moving")
START = """\
import runpy

runpy.run_module("postgres_backup", run_name="__main__", alter_sys=True)
"""


def build(folder: Path, target: Path) -> None:
    """Write the program.

    :param folder: the package's sources; only its ``*.py`` go in, and not those that run on the
        controller alone.
    :raises SystemExit: there are none.
    """
    sources = sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).parts)
    sources = [path for path in sources if path.relative_to(folder).parts[0] not in NOT_PACKED]
    if not sources:
        raise SystemExit(f"There are no sources in {folder}")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", START.encode())
        for path in sources:
            _add(
                archive, f"postgres_backup/{path.relative_to(folder).as_posix()}", path.read_bytes()
            )


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # 3: Unix, also when packed elsewhere
    archive.writestr(entry, content)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
