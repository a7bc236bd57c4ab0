"""Calls of Ansible's modules that are forked on the tests' servers (``python/forks.py``): whoever
calls Python sees no difference.

The programs that servers get are tried on this machine, with folders and processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.host import processes_of
from tests.waiting import wait_for

PROGRAMS = Path(__file__).with_name("python")
SOCKETS = Path(f"/dev/shm/forks-{os.geteuid()}")
#: what a process says of itself
ITSELF = """
import json, os, sys
said = {"parent": os.getppid(), "words": sys.argv, "name": __name__, "path": sys.path[0]}
said |= {"folder": os.getcwd(), "color": os.environ.get("COLOR"), "umask": os.umask(0)}
said |= {"group": os.getgid(), "input": sys.stdin.read(), "warm": "shlex" in sys.modules}
print(json.dumps(said))
import shlex
"""


class Interpreter:
    """A Python that hands its calls over, in a folder of its own."""

    def __init__(self, folder: Path, until: subprocess.Popen) -> None:
        self.folder, self.until = folder, until
        for name in ("sitecustomize.py", "forks.py"):
            (folder / name).write_text((PROGRAMS / name).read_text())
        self.parents: set[int] = set()

    def run(self, program: str, **more: str) -> subprocess.CompletedProcess:
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "KEPT_CODE": str(self.folder.with_name("kept")),
            "FORKS_UNTIL": str(self.until.pid),
        }
        return subprocess.run(
            [sys.executable],
            input=program,
            cwd=self.folder,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def itself(self, **more: str) -> dict:
        """What a call says of itself."""
        done = self.run(ITSELF, **more)
        assert done.stderr == ""
        said = json.loads(done.stdout)
        if said["parent"] != os.getpid():
            self.parents.add(said["parent"])
        return said

    def warm(self) -> dict:
        """What the first call says that is forked."""
        return wait_for(
            "a call that is forked",
            lambda: (said := self.itself())["parent"] != os.getpid() and said,
        )


@pytest.fixture
def interpreter(tmp_path: Path) -> Iterator[Interpreter]:
    folder = tmp_path / "python"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as until:
        yield Interpreter(folder, until)
        if until.poll() is None:
            until.communicate(b"\n")
    wait_for("the end of what was forked", lambda: processes_of(folder) == [])


def test_a_call_is_forked_and_is_told_from_one_of_its_own_by_nothing(interpreter):
    own = interpreter.itself(COLOR="blue")
    assert own["parent"] == os.getpid()
    interpreter.warm()
    forked = interpreter.itself(COLOR="blue")
    assert forked["parent"] in interpreter.parents
    for call in (own, forked):
        del call["parent"], call["warm"]
    assert forked == own


def test_it_ends_with_the_process_that_it_is_told_and_leaves_nothing(interpreter):
    interpreter.warm()
    before = set(SOCKETS.iterdir())
    interpreter.until.communicate(b"\n")
    wait_for("its end", lambda: processes_of(interpreter.folder) == [])
    assert len(before - set(SOCKETS.iterdir())) >= 1


def test_what_a_call_loaded_is_there_for_the_next(interpreter):
    assert interpreter.warm()["warm"] is False
    wait_for("shlex to be loaded", lambda: interpreter.itself()["warm"])


@pytest.mark.parametrize(
    ("program", "status", "out", "err"),
    [
        ("import sys; print(1); sys.exit(7)", 7, "1\n", ""),
        ("import sys; sys.exit('no')", 1, "", "no\n"),
        ("import os; os.kill(os.getpid(), 9)", -9, "", ""),
        ("import atexit; atexit.register(print, 'end')", 0, "end\n", ""),
        ("import threading; threading.Timer(0.05, print, ['late']).start()", 0, "late\n", ""),
    ],
)
def test_it_ends_as_the_program_ends(interpreter, program, status, out, err):
    own = interpreter.run(program)
    interpreter.warm()
    forked = interpreter.run(program)
    for done in (own, forked):
        assert (done.returncode, done.stdout, done.stderr) == (status, out, err)


def test_what_went_wrong_is_on_standard_error(interpreter):
    interpreter.warm()
    done = interpreter.run("1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def _payload(folder: Path, **texts: str) -> str:
    """A program that imports from an archive as Ansible's modules do, and says what it got."""
    folder.mkdir()
    archive = folder / "x_payload.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, text in texts.items():
            file.writestr(f"ansible/{name}.py", text)
    return f"""
import sys
sys.path.insert(0, {str(archive)!r})
before = "ansible.first" in sys.modules
from ansible import first
import ansible.first
try:
    from ansible import second
    said = second.SAID
except ImportError:
    said = None
kept = getattr(first, "KEPT", None)
first.KEPT = "by an earlier call"
print(first.SAID, said, first.__file__.startswith({str(archive)!r}), kept, first.MADE, before)
"""


@pytest.fixture
def say(interpreter, tmp_path) -> Callable[..., list[str]]:
    """``say(first="1", second="2")``: what a call sees whose payload has modules that say so."""
    number = iter(range(1000))

    def ask(**said: str) -> list[str]:
        texts = {
            name: f"import os\nSAID = {value!r}\nMADE = os.getpid()\n"
            for name, value in said.items()
        }
        done = interpreter.run(_payload(tmp_path / f"p{next(number)}", **{"__init__": ""} | texts))
        assert done.stderr == ""
        return done.stdout.split()

    return ask


def test_what_a_payload_ships_is_loaded_once_and_never_another_version_of_it(interpreter, say):
    interpreter.warm()

    def made(**said: str) -> str:
        first, second, *rest, process, before = say(**said)
        assert [first, second] == [said["first"], str(said.get("second"))]
        assert rest == ["True", "None"], "it lies in its own payload, and nothing is left in it"
        assert before == "False"
        return process

    parent = {str(pid) for pid in interpreter.parents}
    wait_for("the modules to be loaded", lambda: made(first="1", second="2") in parent)
    # a payload that has less gets no more than it has
    assert made(first="1") in parent
    # and one of another version has all of its own
    assert made(first="1", second="3") not in parent
    assert made(first="2") not in parent
    assert made(first="1", second="2") in parent
