"""A disk that has no room for what the server remembers is told of, once."""

from __future__ import annotations

import os

import pytest

from postgres_backup.health import disks
from tests.unit.health.test_metrics import settings  # noqa: F401 - a fixture


class _Disk:
    """What ``statvfs`` says of one."""

    f_frsize = 4096

    def __init__(self, blocks: int, inodes: int, of: int) -> None:
        self.f_bavail, self.f_favail, self.f_files = blocks, inodes, of


@pytest.mark.parametrize(
    ("disk", "left"),
    [
        (_Disk(1000, 1000, 5000), ""),
        (_Disk(16, 1, 5000), ""),
        (_Disk(15, 1000, 5000), "room"),
        (_Disk(0, 1000, 5000), "room"),
        (_Disk(1000, 0, 5000), "inodes"),
        (_Disk(1000, 0, 0), ""),  # it counts none
    ],
)
def test_a_disk_is_full_without_room_or_without_inodes(settings, monkeypatch, disk, left):  # noqa: F811
    os.makedirs(settings.state_dir)
    monkeypatch.setattr(os, "statvfs", lambda folder: disk)
    found = disks.findings_of(settings)
    assert [one["code"] for one in found] == (["DISK_FULL"] if left else []), "one disk, told once"
    if left:
        assert f"{settings.state_dir} has no {left} left" in found[0]["message"]


def test_a_folder_that_is_not_there_is_no_full_disk(settings):  # noqa: F811
    assert disks.findings_of(settings) == []
