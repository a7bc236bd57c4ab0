"""The strict reader of kits: what Python's own writes is read alike, all else is an error."""

from __future__ import annotations

import io
import tarfile
import tracemalloc

import pytest

from postgres_backup.stream.archive import Archive, ArchiveError

BLOCK = 512


def packed(*members: tuple[str, bytes, dict], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=form) as tar:
        for name, data, more in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in more.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(data: bytes, most: int = 1 << 30, piece: int = 1000) -> list:
    archive = Archive((data[at : at + piece] for at in range(0, len(data), piece)), most)
    return [(member, b"".join(archive.content())) for member in archive]


LONG = "я" * 120
KIND = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "link"}


@pytest.mark.parametrize("piece", [1, 511, 512, 100_000])
def test_what_tarfile_writes_is_read_as_it_was(piece):
    owner = {"uid": 3_000_000, "gid": 13, "uname": "прокси", "gname": "proxy"}
    members = [
        ("srv/app", b"", {"type": tarfile.DIRTYPE, "mode": 0o2775, **owner}),
        ("srv/app/a", b"x" * 1025, {"mtime": 1_700_000_000.25, **owner}),
        (f"srv/{LONG}/{LONG}", b"", {}),
        ("srv/link", b"", {"type": tarfile.SYMTYPE, "linkname": LONG}),
        ("srv/bad\udcff", b"y" * 512, {}),
        ("srv/hard", b"", {"type": tarfile.LNKTYPE, "linkname": "srv/app/a"}),
    ]
    found = read(packed(*members), piece=piece)
    assert [(member.name, data) for member, data in found] == [(n, d) for n, d, _ in members]
    folder, file, _, link, _, hard = (member for member, _ in found)
    assert (folder.kind, folder.mode, folder.uid, folder.user) == (
        "folder",
        0o2775,
        3_000_000,
        "прокси",
    )
    assert (file.kind, file.size, file.mtime, file.gid) == ("file", 1025, 1_700_000_000.25, 13)
    assert (link.kind, link.target) == ("link", LONG)
    assert (hard.kind, hard.target) == ("hard link", "srv/app/a")


def test_content_that_nobody_reads_is_passed_over():
    data = packed(("a", b"x" * 5000, {}), ("b", b"y", {}))
    assert [member.name for member in Archive([data], 1 << 20)] == ["a", "b"]


GOOD = packed(("a", b"hello", {}), ("b", b"", {}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends too early"),
        (GOOD[: 2 * BLOCK + 100], "ends too early"),
        (GOOD[: 3 * BLOCK], "ends too early"),
        (GOOD[:BLOCK] + b"x" * BLOCK + GOOD[2 * BLOCK :], ""),
        (GOOD[: 2 * BLOCK] + b"x" + GOOD[2 * BLOCK + 1 :], "cannot be read"),
        (GOOD[: 4 * BLOCK] + GOOD, "something follows its end"),
        (GOOD + GOOD, "something follows its end"),
        (packed(("a" * 200, b"", {}), form=tarfile.GNU_FORMAT), "type b'L' has data"),
        (packed(("a", b"x" * 600, {"type": tarfile.SYMTYPE})), "link has data"),
        (packed(("a", b"", {"pax_headers": {"GNU.sparse.size": "9"}})), "GNU.sparse.size"),
        (packed(("a", b"", {"pax_headers": {"size": "-1"}})), "no sensible size"),
        (packed(("a", b"", {"pax_headers": {"mtime": "nan"}})), "no sensible mtime"),
        (packed(("a", b"", {"mtime": 1 << 60})), "no sensible mtime"),
        (packed(("a", b"", {"pax_headers": {"comment": "x" * 70_000}})), "too long"),
        (packed(("a", b"x" * 20_000, {})), "number that cannot be"),
        (packed(("a", b"x" * 10_000, {}), ("b", b"", {})), "unpacks to more than 10240"),
    ],
)
def test_what_is_not_as_ours_is_an_error(data, said):
    if not said:
        assert [data for _, data in read(data)] == [b"xxxxx", b""]
        return
    with pytest.raises(ArchiveError, match=said):
        read(data, most=1 << 30 if "more than" not in said and "number" not in said else 10_240)


def test_headers_take_no_memory():
    """tarfile reads an extended header of any size into memory, and keeps all members."""
    bomb = tarfile.TarInfo("x")
    bomb.type, bomb.size = tarfile.XHDTYPE, 1 << 33
    zeros = bytes(1 << 20)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="too long"):
        list(Archive(iter([bomb.tobuf(tarfile.GNU_FORMAT), *[zeros] * 100]), 1 << 40))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
