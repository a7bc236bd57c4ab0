"""The files of a kit: all of them, and a tar that is whole whatever an application does."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import os
import shutil
import socket
import subprocess
import tarfile
import threading

import pytest

from postgres_backup.backup import kit_files
from postgres_backup.backup.kit_files import Told, walk
from postgres_backup.backup.kit_withheld import Withheld
from postgres_backup.settings import Settings
from postgres_backup.signing import keys
from tests import hostile


@pytest.fixture
def app(tmp_path):
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads/a.txt").write_text("hello")
    (tmp_path / "uploads/link").symlink_to("a.txt")
    (tmp_path / "uploads/all").symlink_to("/")
    os.mkfifo(tmp_path / "uploads/pipe")
    (tmp_path / ".env").write_text("KEY=1\n")
    return tmp_path


def test_files_folders_and_links_with_their_bytes_and_nothing_behind_a_link(app):
    env, uploads = f"{app}/.env", f"{app}/uploads"
    assert list(walk([env, uploads], Told())) == [
        (env, 6, False, env),
        (uploads, 0, True, uploads),
        (f"{uploads}/a.txt", 5, False, uploads),
        (f"{uploads}/all", 0, False, uploads),
        (f"{uploads}/link", 0, False, uploads),
    ]


def tar_of(
    *paths: str,
    below: str = "/",
    targets: dict | None = None,
    settings: Settings = hostile.SETTINGS,
) -> tuple[dict[str, str], dict[str, bytes | str]]:
    """What was found, by its code, and what the tar holds: bytes, or where a link leads."""
    buffer, told = io.BytesIO(), Told()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        packer = kit_files.Packer(tar, [below], targets or {}, told, Withheld(settings))
        for path in paths:
            packer.add(path)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        members = {
            f"/{m.name}": tar.extractfile(m).read() if m.isreg() else f"{m.type[0]:c}{m.linkname}"
            for m in tar
        }
    assert packer.members == len(members)
    return {found["code"]: found["message"] for found in told.findings()}, members


def test_what_is_gone_is_left_out_and_said(app):
    found, members = tar_of(f"{app}/gone", f"{app}/.env")
    assert list(found) == ["FILE_GONE"]
    assert f"1 of the kit, removed while the kit was made, and not in it: {app}/gone" in str(found)
    assert members == {f"{app}/.env": b"KEY=1\n"}


def test_a_large_one_that_shrinks_while_it_is_read_is_filled_up_and_said(app, monkeypatch):
    monkeypatch.setattr(kit_files, "SMALL", 3)
    real = os.fstat

    class Larger:
        def __init__(self, descriptor: int) -> None:
            self.real = real(descriptor)
            self.st_size = self.real.st_size + 3

        def __getattr__(self, name: str):
            return getattr(self.real, name)

    monkeypatch.setattr(kit_files.os, "fstat", Larger)
    found, members = tar_of(f"{app}/.env")
    assert (list(found), members) == (["KIT_FILE_CHANGED"], {f"{app}/.env": b"KEY=1\n\0\0\0"})


def test_one_that_changes_once_while_it_is_read_is_read_again(app, monkeypatch):
    """It begins in one generation and would end in another."""
    file, real, calls = app / ".env", kit_files._read, []

    def read(opened, most: int) -> bytes:
        data = real(opened, most)
        if not calls:
            file.write_text("KEY=2222222\n")
        calls.append(data)
        return data

    monkeypatch.setattr(kit_files, "_read", read)
    assert tar_of(str(file)) == ({}, {str(file): b"KEY=2222222\n"})
    assert calls == [b"KEY=1\n", b"KEY=222", b"KEY=2222222\n", b"KEY=2222222\n"]


def test_one_that_never_holds_still_is_told_by_its_name(app):
    file, end, generations = app / ".env", threading.Event(), itertools.count()
    pieces = 10

    def write() -> None:
        with file.open("r+b", buffering=0) as opened:
            while not end.wait(0.002):
                piece, generation = next(generations) % pieces, next(generations) // pieces
                opened.seek(piece * 8)
                opened.write(f"{generation:07}\n".encode())

    file.write_bytes(b"0000000\n" * pieces)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        found, members = tar_of(str(file), f"{app}/uploads/a.txt")
    finally:
        end.set()
        writer.join()
    assert list(found) == ["KIT_FILE_CHANGED"]
    assert found["KIT_FILE_CHANGED"].endswith(f": {file}")
    assert members[f"{app}/uploads/a.txt"] == b"hello"


def test_links_that_lead_out_are_counted_and_the_first_ones_named(app):
    uploads = app / "uploads"
    for number in range(5):
        (uploads / f"out{number}").symlink_to(f"../../out{number}")
    paths = [str(uploads / name) for name in ("link", *(f"out{n}" for n in range(5)))]
    found, members = tar_of(*paths, below=str(uploads))
    assert list(found) == ["KIT_LINK_LEADS_OUT"]
    assert found["KIT_LINK_LEADS_OUT"].startswith("5 of the kit, links that lead out of")
    named = ", ".join(f"{uploads}/out{number}" for number in range(3))
    assert found["KIT_LINK_LEADS_OUT"].endswith(f": {named} and 2 more")
    assert members[f"{uploads}/link"] == "2a.txt"
    assert members[f"{uploads}/out0"] == "2../../out0"


def test_a_file_with_two_names_is_in_it_once_and_a_set_uid_one_without_that(app):
    os.link(app / ".env", app / "second")
    (app / "uploads/a.txt").chmod(0o4755)
    found, members = tar_of(f"{app}/.env", f"{app}/second", f"{app}/uploads/a.txt")
    assert list(found) == ["KIT_SETUID"]
    assert members[f"{app}/second"] == f"1{app}/.env".replace("1/", "1", 1)


def test_a_walk_is_not_ended_by_a_folder_that_goes(app):
    told = Told()
    entries = walk([str(app)], told)
    next(entries)
    (app / "uploads/deep").mkdir()
    seen = []
    for entry in entries:
        seen.append(entry.path)
        if entry.path == str(app / "uploads"):
            (app / "uploads/deep").rmdir()
    assert str(app / "uploads/a.txt") in seen
    assert [found["code"] for found in told.findings()] == ["FILE_GONE", "KIT_SPECIAL_FILE"]


def test_sockets_and_pipes_are_left_out_and_said(app):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(app / "uploads/s"))
        told = Told()
        seen = [entry.path for entry in walk([str(app)], told)]
        [found] = told.findings()
        assert found["code"] == "KIT_SPECIAL_FILE"
        assert "2 of the kit, sockets, pipes or devices" in found["message"]
        assert f"{app}/uploads/pipe, {app}/uploads/s" in found["message"]
        assert not {f"{app}/uploads/pipe", f"{app}/uploads/s"} & set(seen)
        # and what has become one since the walk
        found, members = tar_of(f"{app}/uploads/s", f"{app}/uploads/pipe", f"{app}/.env")
    assert (list(found), list(members)) == (["KIT_SPECIAL_FILE"], [f"{app}/.env"])


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (os.mkfifo, "KIT_SPECIAL_FILE"),
        (lambda path: path.symlink_to("/etc/passwd"), "FILE_GONE"),
        (lambda path: None, "FILE_GONE"),
    ],
    ids=["a pipe", "a link", "nothing"],
)
def test_what_comes_in_the_place_of_a_file_at_the_last_moment(app, monkeypatch, made, code):
    real, file = kit_files._opened, app / ".env"

    def opened(path: str) -> int:
        if path == str(file):
            file.unlink()
            made(file)
        return real(path)

    monkeypatch.setattr(kit_files, "_opened", opened)
    found, members = tar_of(str(file), f"{app}/uploads/a.txt")
    assert (list(found), list(members)) == ([code], [f"{app}/uploads/a.txt"])


def test_a_file_in_the_place_of_a_folder_ends_no_walk(app):
    told = Told()
    (app / "uploads/deep").mkdir()
    seen = []
    for entry in walk([str(app)], told):
        seen.append(entry.path)
        if entry.path == str(app / "uploads"):
            (app / "uploads/deep").rmdir()
            (app / "uploads/deep").write_text("x")
    assert str(app / "uploads/a.txt") in seen
    assert [found["code"] for found in told.findings()] == ["FILE_GONE", "KIT_SPECIAL_FILE"]


def test_one_that_grows_while_it_is_read_has_the_size_that_its_header_says(app, monkeypatch):
    monkeypatch.setattr(kit_files, "SMALL", 3)
    file, real = app / ".env", kit_files._Exactly.read

    def read(self, count: int = -1) -> bytes:
        with open(file, "a") as more:
            more.write("MORE=1\n")
        return real(self, count)

    monkeypatch.setattr(kit_files._Exactly, "read", read)
    found, members = tar_of(str(file), f"{app}/uploads/a.txt")
    assert list(found) == ["KIT_FILE_CHANGED"]
    assert members[str(file)] == b"KEY=1\n"
    assert members[f"{app}/uploads/a.txt"] == b"hello"


def test_no_key_that_this_server_signs_with_is_in_a_kit_whatever_it_is_made_of(tmp_path):
    """Where it lies; put aside; copied; under another name; with a passphrase; one of before."""
    etc, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    etc.mkdir()
    elsewhere.mkdir()
    (tmp_path / "by-link").symlink_to(etc)
    key = etc / "signing.key"
    settings = dataclasses.replace(
        hostile.SETTINGS, signing_key_file=str(tmp_path / "by-link/signing.key")
    )
    keys.load_or_make(settings)
    shutil.copy(key, elsewhere / "of-last-month")
    shutil.copy(key, etc / "signing.key.broken")
    os.link(key, elsewhere / "one-name")
    os.link(key, elsewhere / "another-name")
    keys.rotate(settings)
    (elsewhere / "notes").write_text(f"ours:\n{key.read_text()}\nkeep it safe\n")
    shutil.copy(key, elsewhere / "locked")
    keygen = ["ssh-keygen", "-q", "-p", "-N", "words", "-f", elsewhere / "locked"]
    subprocess.run(keygen, check=True, stdout=subprocess.DEVNULL)
    (etc / "signing.key.4711").write_text("the half of a key")
    # what belongs into it: an application's own key too
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", elsewhere / "deploy"]
    subprocess.run(keygen, check=True)
    (elsewhere / "cut").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nA\n")
    wanted = {"deploy", "deploy.pub", "cut", "signing.key.pub", "signing.key.old.pub"}
    for usable in (True, False):
        key.chmod(0o600 if usable else 0o644)  # one that others may read is one all the same
        paths = [entry.path for entry in walk([str(etc), str(elsewhere)], Told())]
        found, members = tar_of(*paths, settings=settings)
        files = {
            os.path.basename(name) for name in members if name not in (str(etc), str(elsewhere))
        }
        assert files == wanted
        assert list(found) == ["KIT_KEY_LEFT_OUT"]
        assert "8 of the kit, private keys" in found["KIT_KEY_LEFT_OUT"]
    assert tar_of(str(key), settings=hostile.SETTINGS)[1], (
        "without a key of its own it looks for none"
    )
