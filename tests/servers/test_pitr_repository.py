"""pgBackRest of the PostgreSQL project's repository. A folder with a key of the test's own plays
its part: the real one cannot be reached from here.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.servers.server import Server

pytestmark = [pytest.mark.gameday, pytest.mark.timeout(600)]

PLACE, KEY, SUITE = "/srv/repository", "/srv/key.asc", "test-pgdg"
PLAY = """
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: pitr, tasks_from: repository}
"""
ADDED = (
    "/etc/apt/sources.list.d/postgres-backup-pitr.sources",
    "/etc/apt/preferences.d/postgres-backup-pitr",
)
#: newer than those of any distribution
VERSION = "99.0"


class Signer:
    """A key that signs, in a keyring of its own."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self._gpg = ["gpg", "--batch", "--quiet", "--homedir", str(home), "--passphrase", ""]
        self._gpg += ["--pinentry-mode", "loopback"]
        self._call("--quick-gen-key", "test", "rsa3072", "sign", "never")
        said = self._call("--with-colons", "--list-keys").decode()
        self.fingerprint = said.split("\nfpr:")[1].split("\n")[0].strip(":")
        self.public = self._call("--armor", "--export").decode()

    def _call(self, *words: str, data: bytes = b"") -> bytes:
        return subprocess.run(
            [*self._gpg, *words], input=data, capture_output=True, check=True
        ).stdout

    def sign(self, text: str) -> str:
        return self._call("--clearsign", data=text.encode()).decode()


def lay_repository(server: Server, signer: Signer) -> None:
    """One with a ``pgbackrest`` and a ``postgresql`` that are newer than the distribution's."""
    lines = []
    for name in ("pgbackrest", "postgresql"):
        control = (
            f"Package: {name}\nVersion: {VERSION}\nArchitecture: all\n"
            "Maintainer: test <test@example.org>\nDescription: test\n"
        )
        server.write(f"/srv/{name}/DEBIAN/control", control)
        file = f"{name}_{VERSION}_all.deb"
        server.inside("mkdir", "-p", PLACE)
        server.inside("dpkg-deb", "--build", f"/srv/{name}", f"{PLACE}/{file}")
        size, sha256 = (
            server.inside(*words, f"{PLACE}/{file}").stdout.split()[0]
            for words in (("stat", "-c", "%s"), ("sha256sum",))
        )
        lines.append(f"{control}Filename: {file}\nSize: {size}\nSHA256: {sha256}\n")
    packages = "\n".join(lines)
    folder = f"{PLACE}/dists/{SUITE}"
    server.write(f"{folder}/main/binary-all/Packages", packages)
    server.write(f"{folder}/main/binary-amd64/Packages", packages)
    sha256 = hashlib.sha256(packages.encode()).hexdigest()
    sums = "".join(
        f" {sha256} {len(packages)} main/binary-{one}/Packages\n" for one in ("all", "amd64")
    )
    release = (
        f"Origin: test\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: all amd64\n"
        f"Components: main\nDate: Mon, 05 Jan 2026 00:00:00 UTC\nSHA256:\n{sums}"
    )
    server.write(f"{folder}/InRelease", signer.sign(release))


def test_the_engine_alone_comes_from_there_and_by_no_other_key(new_server, controller, tmp_path):
    server = new_server("trixie", layer="postgres", name="newer")
    signer, other = Signer(tmp_path / "one"), Signer(tmp_path / "two")
    lay_repository(server, signer)
    of_host = {"pitr_repository_uri": f"file:{PLACE}", "pitr_repository_suite": SUITE}
    controller.add(server, **of_host)
    book = controller.directory / "repository.yml"
    book.write_text(PLAY)

    def refused(why: str) -> None:
        play = controller.run(str(book), check=False)
        assert play.status == 2
        assert why in " ".join(play.output.split())
        for one in ADDED:
            assert server.inside("test", "-e", one, check=False).returncode == 1

    # Debian has brought the key that is pinned, by which this is not signed: apt refuses
    refused(f"Failed to install pgBackRest from file:{PLACE}")

    of_test = {"pitr_repository_key": KEY, "pitr_repository_fingerprint": signer.fingerprint}
    controller.add(server, **of_host, **of_test)
    for wrong in (other.public, signer.public + other.public, "no key\n"):
        server.write(KEY, wrong)
        refused(f"and not the key of the repository, {signer.fingerprint}")

    server.write(KEY, signer.public)
    assert controller.run(str(book)).recap["newer"]["changed"] > 0
    installed = server.inside("dpkg-query", "-W", "-f", "${Version}", "pgbackrest").stdout
    assert installed == VERSION
    policy = server.inside("apt-cache", "policy", "postgresql").stdout
    assert VERSION in policy
    assert f"Candidate: {VERSION}" not in policy
    assert controller.run(str(book)).recap["newer"]["changed"] == 0
