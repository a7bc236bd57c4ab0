"""Ranges of an object: which there are, and that nothing of a wrong piece is used."""

from __future__ import annotations

import hashlib
import random

import pytest

from postgres_backup.errors import BadBackupError
from postgres_backup.verify.ranges import Pieces, Range, apart, header_of, ranges

ONE = {"rows": 1, "bytes": 1, "sha256": "0" * 64}
MANIFEST = {
    "name": "postgres-backup-2026-01-27_00-00-00.sql.gz",
    "format": "plain",
    "encryption": None,
    "bytes": 100,
    "tables": {"public.a": ONE, "public.b": ONE},
    "parts": [{"bytes": 100, "sha256": "0" * 64}],
    "members": [
        {"table": "public.a", "at": 10},
        {"table": "", "at": 60},
        {"table": "public.b", "at": 70},
    ],
}


def test_the_ranges_are_all_of_the_object_in_order():
    assert ranges(MANIFEST) == [
        Range(0, 10, ""),
        Range(10, 60, "public.a"),
        Range(60, 70, ""),
        Range(70, 100, "public.b"),
    ]


@pytest.mark.parametrize(
    "change",
    [{"members": []}, {"parts": []}, {"encryption": {"kind": "age"}}, {"format": "custom"}],
)
def test_what_may_be_read_whole_only(change):
    assert ranges(MANIFEST | change) == []


def places(*members):
    return {"members": [{"table": table, "at": at} for table, at in members]}


@pytest.mark.parametrize(
    "change",
    [
        places(("public.a", 0)),
        places(("public.a", 100)),
        places(("public.a", 10**18)),
        places(("public.a", 50), ("", 20)),
        places(("public.a", 50), ("", 50)),
        places(("public.c", 50)),
        places(("public.a", 20), ("public.a", 50)),
    ],
)
def test_places_that_cannot_be_are_refused(change):
    with pytest.raises(BadBackupError, match="places of tables where none can be") as refused:
        ranges(MANIFEST | change)
    assert [one["code"] for one in refused.value.findings] == ["MANIFEST_DAMAGED"]


class FakeDownload:
    """As ``s3.download.Download``: chunks of any size, and jumps."""

    def __init__(self, data: bytes, rng: random.Random) -> None:
        self.data, self.at, self.rng, self.asked = data, 0, rng, 0

    def jump(self, place: int) -> None:
        assert place >= self.at - 7, "it only goes forwards"
        self.at = place

    def __iter__(self):
        while self.at < len(self.data):
            chunk = self.data[self.at : self.at + self.rng.randint(1, 7)]
            self.at += len(chunk)
            self.asked += len(chunk)
            yield chunk


def test_whatever_is_read_is_what_lies_there_and_no_more_than_its_pieces_are_asked_for():
    for seed in range(200):
        rng = random.Random(seed)
        data = rng.randbytes(rng.randint(1, 200))
        parts, at = [], 0
        while at < len(data):
            piece = data[at : at + 20]
            parts.append({"bytes": len(piece), "sha256": hashlib.sha256(piece).hexdigest()})
            at += len(piece)
        download = FakeDownload(data, rng)
        pieces, start, touched = Pieces(download, parts, "X"), 0, set()
        while start < len(data):
            end = rng.randint(start + 1, len(data))
            if rng.random() < 0.5:
                assert b"".join(pieces.read(start, end)) == data[start:end]
                touched |= set(range(start // 20, -(-end // 20)))
            start = end
        assert download.asked <= len(touched) * (20 + 7)


def test_nothing_of_a_wrong_piece_is_used():
    data = bytes(range(60))
    parts = [
        {"bytes": 20, "sha256": hashlib.sha256(data[at : at + 20]).hexdigest()}
        for at in (0, 20, 40)
    ]
    spoiled = data[:30] + b"\xff" + data[31:]
    pieces = Pieces(FakeDownload(spoiled, random.Random(1)), parts, "X")
    assert b"".join(pieces.read(0, 15)) == data[:15]
    used = []
    with pytest.raises(BadBackupError, match="piece 2 of 3"):
        used.extend(pieces.read(15, 50))
    assert used == [data[15:20]]
    with pytest.raises(BadBackupError, match="piece 2 of 3"):
        list(pieces.read(20, 30))


MB = 1 << 20


def in_a_row(*tables: tuple[str, int]) -> list[Range]:
    """Ranges of that many MB each."""
    found, at = [], 0
    for table, size in tables:
        found.append(Range(at * MB, (at + size) * MB, table))
        at += size
    return found


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ((), set()),
        ((("", 90), ("a", 90)), {"a"}),
        ((("", 1), ("a", 90)), set()),
        ((("", 1), ("a", 90), ("b", 5)), set()),
        ((("", 1), ("a", 90), ("b", 20)), {"a"}),
        ((("", 1), ("a", 50), ("", 1), ("b", 60), ("", 1), ("c", 20), ("", 1)), {"b"}),
        ((("", 1), ("a", 30), ("b", 30), ("c", 30), ("d", 30)), {"d", "b"}),
        ((("", 40), ("a", 17), ("b", 17)), {"a", "b"}),
    ],
)
def test_two_sessions_share_the_rows_by_bytes(tables, expected):
    assert apart(in_a_row(*tables)) == expected


@pytest.mark.parametrize(
    "statement",
    [
        b"COPY public.a (id) FROM stdin;\n",
        b"COPY public.a  FROM stdin;\n",
        b'COPY public."a\nCOPY b FROM stdin;\n" ("x\n", "FROM stdin;\n") FROM stdin;\n',
    ],
)
def test_a_header_is_all_of_the_statement_and_no_row(statement):
    assert header_of(iter([statement + b"1\n2\n\\.\n", b"more"]), "name") == statement


@pytest.mark.parametrize("chunks", [[], [b"1\n2\n"], [b"DROP TABLE a;\n"], [b"COPY public.a (id"]])
def test_a_range_that_begins_otherwise_is_refused(chunks):
    with pytest.raises(BadBackupError) as error:
        header_of(iter(chunks), "name")
    assert [one["code"] for one in error.value.findings] == ["MANIFEST_DAMAGED"]
