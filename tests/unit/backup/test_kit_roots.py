"""What a kit is made of where links are among its paths."""

from __future__ import annotations

import os

import pytest

from postgres_backup.backup.kit_roots import resolve
from postgres_backup.errors import UsageError


@pytest.fixture
def base(tmp_path):
    """A volume, and an application with links to it."""
    (tmp_path / "mnt/volume/uploads").mkdir(parents=True)
    (tmp_path / "mnt/volume/uploads/photo").write_text("x")
    (tmp_path / "srv/app").mkdir(parents=True)
    (tmp_path / "srv/app/uploads").symlink_to(f"{tmp_path}/mnt/volume/uploads")
    (tmp_path / "srv/app/.env").symlink_to("../env")
    (tmp_path / "srv/env").write_text("KEY=1")
    return tmp_path


def of(base, *names: str) -> tuple[list[str], list[str], dict[str, str]]:
    """Paths, those walked, and targets, without what the test's folder adds."""

    def short(path: str) -> str:
        return path.removeprefix(f"{base}/")

    roots = resolve([f"{base}/{name}" for name in names])
    return (
        [short(path) for path in roots.paths],
        [short(path) for path in roots.walked],
        {short(link): short(target) for link, target in roots.targets.items()},
    )


def test_what_is_no_link_is_itself_and_nothing_is_walked_twice(base):
    assert of(base, "srv/app") == (["srv/app"], ["srv/app"], {})
    assert of(base, "srv/app", "srv//./app/", "srv") == (["srv/app", "srv"], ["srv"], {})


def test_a_named_link_is_followed_to_a_folder_and_to_a_file(base):
    links, ends = ["srv/app/uploads", "srv/app/.env"], ["mnt/volume/uploads", "srv/env"]
    assert of(base, *links) == (links + ends, links + ends, {})
    # below a named folder it is a link of that folder, and is followed as it was named
    assert of(base, "srv/app", *links) == (["srv/app", *links, *ends], ["srv/app", *ends], {})


def test_links_to_links_are_followed_to_the_end(base):
    (base / "srv/app/current").symlink_to("uploads")
    way = ["srv/app/current", "srv/app/uploads", "mnt/volume/uploads"]
    assert of(base, "srv/app/current") == (way, way, {})


def test_a_path_below_a_link_of_another_path_is_saved_where_it_lies(base):
    (base / "srv/releases/5/files").mkdir(parents=True)
    (base / "srv/app/now").symlink_to("../releases/5")
    assert of(base, "srv/app", "srv/app/now/files") == (
        ["srv/app", "srv/app/now/files", "srv/app/now", "srv/releases/5/files", "srv/releases/5"],
        ["srv/app", "srv/releases/5"],
        {},
    )


def test_a_link_above_a_path_that_nobody_named_stays_a_folder(base):
    (base / "www").symlink_to("srv")
    assert of(base, "www/app/uploads")[0] == ["www/app/uploads", "mnt/volume/uploads"]
    # its letters would lead elsewhere once the link above is a folder
    (base / "www2").mkdir()
    (base / "www2/deep").symlink_to("../srv/app")
    assert of(base, "www2/deep/.env") == (
        ["www2/deep/.env", "srv/env"],
        ["www2/deep/.env", "srv/env"],
        {"www2/deep/.env": "srv/env"},
    )


def test_what_cannot_be_saved_is_refused_and_says_why(base):
    os.mkfifo(base / "pipe")
    (base / "gone").symlink_to("mnt/unmounted")
    (base / "loop").symlink_to("loop")
    (base / "all").symlink_to("/")
    for path, said in {
        "uploads": "is not absolute",
        "/nonexistent/uploads": "does not exist",
        f"{base}/srv/../srv": "goes up",
        f"{base}/pipe": "neither a file nor a folder",
        f"{base}/gone": f"is a link to {base}/mnt/unmounted, which is not there",
        f"{base}/loop": "which is not there",
        f"{base}/all": "the whole machine",
    }.items():
        with pytest.raises(UsageError, match=said):
            resolve([path])
