#!/usr/bin/env python3
"""Compiles the packed program for the Python that runs this: compile_program.py PROGRAM TARGET.

A Python compiles what it finds in a zip file anew at each start, a third of a short call of ours.
TARGET has the sources too: another Python, say after an upgrade of the system, takes those.
"""

from __future__ import annotations

import os
import py_compile
import sys
import tempfile
import zipfile
from pathlib import Path


def compile_program(program: str, target: str) -> None:
    """Write TARGET whole or not at all.

    Source and what is compiled of it lie in one file, so nobody has to compare them at each start
    ("unchecked hash-based", https://peps.python.org/pep-0552/).
    """
    part = f"{target}.part"
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(program) as packed,
        zipfile.ZipFile(part, "w") as whole,
    ):
        source, compiled = Path(folder, "source.py"), Path(folder, "source.pyc")
        for entry in packed.infolist():
            text = packed.read(entry)
            whole.writestr(entry, text)
            if entry.filename == "__main__.py":
                continue
            source.write_bytes(text)
            py_compile.compile(
                str(source),
                cfile=str(compiled),
                dfile=f"{target}/{entry.filename}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            beside = zipfile.ZipInfo(f"{entry.filename}c", entry.date_time)
            beside.create_system, beside.external_attr = entry.create_system, entry.external_attr
            whole.writestr(beside, compiled.read_bytes())
    os.chmod(part, 0o644)
    os.replace(part, target)


if __name__ == "__main__":
    compile_program(sys.argv[1], sys.argv[2])
