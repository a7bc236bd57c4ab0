"""The inspector lives by regular expressions, and each Python has an engine of its own: a whole
dump is whole to all of them.
"""

import glob
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READ = """
import sys
from postgres_backup.stream.inspector import Inspector
assert sys.version_info >= (3, 10)
inspector = Inspector()
inspector.feed(sys.stdin.buffer.read())
report = inspector.finish()
print(report.complete, {name: facts.rows for name, facts in report.tables.items()})
"""
#: statements in a row, such as Python 3.11.2 (Debian 12) once tried to match for ever
DUMP = b"""--
-- PostgreSQL database dump
--

CREATE TABLE public.t (
    id integer
);


ALTER TABLE public.t OWNER TO crm;

COPY public.t (id) FROM stdin;
1
2
\\.


--
-- PostgreSQL database dump complete
--

"""


def interpreters() -> list[str]:
    """Pythons of this machine, one path each."""
    found = [
        *glob.glob("/usr/bin/python3.[0-9]*"),
        *glob.glob("/usr/local/bin/python3.[0-9]*"),
        *glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3")),
    ]
    return sorted(
        path
        for path in {os.path.realpath(path) for path in found if "config" not in path}
        if is_supported(path)
    )


def is_supported(python: str) -> bool:
    """It runs, and the program is made for it (requirements/server.txt)."""
    done = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info >= (3, 10))"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() == "True"


def test_there_is_one():
    assert interpreters()


@pytest.mark.parametrize("python", interpreters())
def test_a_whole_dump_is_whole_to_every_python(python):
    done = subprocess.run(
        [python, "-c", READ],
        input=DUMP,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT / "module_utils"), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=20,
        check=False,
    )
    assert done.stdout.decode() == "True {'public.t': 2}\n", done.stderr.decode()
