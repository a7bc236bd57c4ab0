"""What man, bash and zsh know of the command line is what its parser says, and they take it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from docs import make_manual
from docs.make_tables import commands, parser
from tests.conftest import missing


@pytest.fixture(scope="module", autouse=True)
def english():
    """``man`` must not be told otherwise by the locale of whoever runs this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


def needs(program: str) -> None:
    if not shutil.which(program):
        missing(f"{program} is not installed (sudo apt-get install man-db zsh)")


def test_the_files_are_what_the_parser_says():
    assert make_manual.main(["--check"]) == 0, "python -m docs.make_manual"


def test_man_shows_every_command_and_complains_of_nothing():
    needs("man")
    page = make_manual.FILES / "postgres-backup.1"
    words = ["man", "--warnings", "--encoding=UTF-8", "--local-file", page]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = re.sub(r"\x1b\[[0-9]*m|.\x08", "", done.stdout)
    for name, command in commands().items():
        assert re.search(rf"(?m)^ +{name}\b", shown), name
        for example in make_manual.examples(command):
            assert example in re.sub(r"\s+", " ", shown.replace("\u2010", "-"))
    known = subprocess.run(["lexgrog", page], capture_output=True, text=True, check=True).stdout
    assert '"postgres-backup - back up PostgreSQL' in known


def completed(*words: str) -> set[str]:
    """What a real bash offers behind these words, of which the last is being typed."""
    script = (
        f'. "{make_manual.FILES}/postgres-backup.bash"\n'
        'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_postgres_backup\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    argv = ["bash", "--norc", "-euc", script, "bash", "postgres-backup", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(filter(None, done.stdout.splitlines()))


def test_bash_completes_commands_options_choices_and_files(tmp_path):
    assert completed("re") == {"restore", "restore-kit"}
    assert completed("") == {*commands(), *make_manual.flags(parser())}
    assert completed("--js") == {"--json"}
    for name, command in commands().items():
        assert {*make_manual.flags(command)} <= completed(name, "")
    assert completed("restore", "lat") == {"latest"}
    assert "latest" not in completed("backup", "")
    assert completed("restore", "latest", "--triggers", "") == {"off", "on"}
    assert completed("drill", "--fail-on", "w") == {"warning"}
    assert completed("backup", "--tables", "") == set()  # nobody knows them here
    (tmp_path / "a key.txt").touch()
    assert completed("restore", "--identity", f"{tmp_path}/a") == {f"{tmp_path}/a key.txt"}
    assert completed("--config", str(tmp_path), "stat") == {"status"}
    assert completed("restore-kit", "--to", f"{tmp_path}/a") == set()


@pytest.fixture(scope="module")
def zsh():
    """The terminal of a real zsh that has loaded its completions."""
    needs("zsh")
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "dumb"
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        ready = f"fpath=({make_manual.FILES} $fpath); autoload -Uz compinit; compinit -u -D"
        os.write(terminal, f"PS1=; {ready}; echo rea''dy\n".encode())
        _read(terminal, "ready\r\n")
        yield terminal
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def _read(terminal: int, until: str) -> str:
    shown, end = "", time.monotonic() + 30
    while until not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            new = os.read(terminal, 4096).decode(errors="replace")
            shown = re.sub(r".\x08", "", shown + new)
    assert until in shown, shown
    return shown


@pytest.mark.parametrize(
    ("keys", "until"),
    [
        ("postgres-backup und\t", "undo-restore"),
        ("postgres-backup restore lat\t", "latest"),
        ("postgres-backup drill --fai\tw\t", "--fail-on warning"),
        ("postgres-backup --log-format js\t", "--log-format json"),
        ("postgres-backup restore --identi\t", "--identity"),
    ],
)
def test_zsh_completes_commands_options_and_choices(zsh, keys, until):
    os.write(zsh, keys.encode())
    _read(zsh, until)
    os.write(zsh, b"\x15echo ne''xt\n")  # what stands on the line goes, and nothing of it is run
    _read(zsh, "next\r\n")


def test_the_role_lays_all_of_them():
    role = Path(make_manual.FILES).parent
    tasks = (role / "tasks/user.yml").read_text()
    for name in make_manual.MAKERS:
        assert f"source: {name}\n" in tasks
