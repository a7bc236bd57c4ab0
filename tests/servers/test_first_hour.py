"""The first hour: from a checkout on an empty server to a restored database, with the README alone.

The server is its own controller, as the inventory of the example has it. It has PostgreSQL with
the database of an application, whose owner has no right beside that. What the README shows is typed
word for word, and what ``setup.yml`` says is to be typed next. Commands are counted, and timed as a
user would wait for them.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import documents
from tests.servers import golden

ROOT = Path(__file__).resolve().parents[2]
SECTION = "A real server in five steps"
#: what somebody may spend, from the checkout to a restored database
SECONDS, COMMANDS, FILES = 300, 8, 1


@dataclasses.dataclass
class Typed:
    """What somebody typed, and how long each took."""

    server: object
    took: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    #: what a shell remembers between two commands
    shell: list[str] = dataclasses.field(default_factory=lambda: ["cd /srv/postgres-backup"])

    def type(self, command: str) -> str:
        """What a command prints, typed in the shell of those before it."""
        began = time.monotonic()
        script = "\n".join([*self.shell, command])
        done = self.server.ssh(f"set -e\n{script}", timeout=900)
        self.took.append((command, time.monotonic() - began))
        if command.startswith((". ", "export ")):
            self.shell.append(command)
        return done.stdout


def shown() -> list[str]:
    """The commands of the README's steps, in order."""
    blocks = documents.blocks("README.md", documents.section("README.md", SECTION))
    return [one for block in blocks if block.language == "sh" for one in block.commands()]


@pytest.mark.gameday
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("suite", golden.SUITES)
def test_from_a_checkout_to_a_restored_database_with_the_readme_alone(
    new_server, lab_s3, tmp_path, suite, capsys
):
    server = new_server(suite, layer="postgres", name="db1", forks=False)
    password = secrets.token_urlsafe(18)
    server.sql(f"CREATE ROLE crm LOGIN PASSWORD '{password}'")
    server.sql("CREATE DATABASE crm OWNER crm")
    rows = "SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 20000) n"
    server.sql(f"SET ROLE crm; CREATE TABLE users AS {rows}", "crm")
    server.put(_clone(tmp_path / "clone"), "/srv/postgres-backup")
    # what makes the lab's Python faster than a user's
    server.inside("sh", "-c", "rm /etc/python3*/sitecustomize.py")
    secret = {
        "the password of the database user": password,
        "the access key": lab_s3.access_key,
        "the secret key": lab_s3.secret_key,
    }

    typed, edited = Typed(server), []
    for command in shown():
        if command == "ansible-playbook playbooks/status.yml":
            continue  # tomorrow
        for words, value in secret.items():
            command = command.replace(words, value)
        if command == "ansible-playbook setup.yml":
            edited = _edit(server, lab_s3.endpoint_url)
        said = typed.type(command)
    assert "db1: all is well; next run" in " ".join(said.split())

    server.sql("DELETE FROM users WHERE id > 5000", "crm")
    for grant in _shown(said, "A restore will need a grant first, as a superuser:"):
        typed.type(f"runuser -u postgres -- psql -c '{grant}'")
    for command in _shown(said, "Bring back:"):
        typed.type(command)
    assert server.sql("SELECT count(*) FROM users", "crm") == "20000"

    took = sum(seconds for _, seconds in typed.took)
    with capsys.disabled():
        print(f"\n{suite}: {took:.0f} s, {len(typed.took)} commands, {len(edited)} files edited")
        for command, seconds in typed.took:
            print(f"  {seconds:6.1f} s  {command.partition('=')[0]}")
    assert took <= SECONDS
    assert len(typed.took) <= COMMANDS
    assert len(edited) <= FILES


def _clone(folder: Path) -> Path:
    """What git has of this checkout."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target, follow_symlinks=False)
    return folder


def _edit(server, endpoint: str) -> list[str]:
    """What has to be set in the files that bootstrap.sh has made; those that were changed."""
    name = "/srv/postgres-backup/group_vars/all.yml"
    text = server.inside("cat", name).stdout
    changed = text.replace("https://object.pscloud.io", endpoint)
    changed = changed.replace("my-company-backups", f"backups-{secrets.token_hex(4)}")
    server.write(name, changed, "0600")
    return [name] if changed != text else []


def _shown(said: str, after: str) -> list[str]:
    """What setup.yml says that is to be typed."""
    return [line.strip() for line in re.findall(rf"{after} +(.+)", said)]
