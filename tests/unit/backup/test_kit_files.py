"""The files of a kit: all of them, and a tar that is whole whatever an application does."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from postgres_backup.backup import kit_files
from postgres_backup.errors import UsageError


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
    found = dict(kit_files.walk([f"{app}/.env", f"{app}/uploads"]))
    assert found == {
        f"{app}/.env": 6,
        f"{app}/uploads": 0,
        f"{app}/uploads/a.txt": 5,
        f"{app}/uploads/all": 0,
        f"{app}/uploads/link": 0,
    }


@pytest.mark.parametrize("path", ["uploads", "/nonexistent/uploads"])
def test_a_path_that_is_relative_or_missing_is_refused(path):
    with pytest.raises(UsageError, match="backup_paths"):
        list(kit_files.walk([path]))


def tar_of(*paths: str) -> tuple[list[str], dict[str, bytes]]:
    """The codes of what was found, and what the tar holds."""
    buffer, codes = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            codes += [finding["code"] for finding in kit_files.add(tar, path)]
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        members = {
            f"/{member.name}": tar.extractfile(member).read() for member in tar if member.isreg()
        }
    return codes, members


def test_what_is_gone_is_left_out_and_said(app):
    assert tar_of(f"{app}/gone", f"{app}/.env") == (["FILE_GONE"], {f"{app}/.env": b"KEY=1\n"})


def test_what_shrinks_while_it_is_read_is_filled_up_and_said(app, monkeypatch):
    real = tarfile.TarFile.gettarinfo

    def larger(self, *arguments, **more):
        info = real(self, *arguments, **more)
        info.size += 3
        return info

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", larger)
    codes, members = tar_of(f"{app}/.env")
    assert (codes, members) == (["FILE_CHANGED"], {f"{app}/.env": b"KEY=1\n\0\0\0"})
