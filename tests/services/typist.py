"""Somebody who types many commands: the program as users start it, without what it costs to start a
Python and to import the program each time.

A process of its own has imported everything, and is copied (fork) for each command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HAND = """
import json, os, sys
import boto3, psycopg
from postgres_backup.cli import main
from postgres_backup.nightly import run, watch
from postgres_backup.restore import database
for line in sys.stdin:
    typed = json.loads(line)
    child = os.fork()
    if child == 0:
        said = os.open(typed["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["postgres-backup", *typed["words"]]
        status = 70
        try:
            status = main.main()
            sys.stdout.flush()
            sys.stderr.flush()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Typist:
    """Types commands of the program, one after the other.

    :param folder: for what they print.
    """

    def __init__(self, folder: Path) -> None:
        self._output = folder / "output"
        self._hand = subprocess.Popen(
            [sys.executable, "-c", _HAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.defpath, "PYTHONPATH": str(ROOT / "module_utils")},
        )

    def __enter__(self) -> Typist:
        return self

    def __exit__(self, *_: object) -> None:
        self._hand.communicate(timeout=30)

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The end of a command; what it printed, of both streams, is its ``stdout``."""
        self._hand.stdin.write(json.dumps({"words": words, "output": str(self._output)}) + "\n")
        self._hand.stdin.flush()
        status = self._hand.stdout.readline()
        assert status, f"no answer to {words}"
        said = self._output.read_text(encoding="utf-8", errors="replace")
        return subprocess.CompletedProcess(words, int(status), said)
