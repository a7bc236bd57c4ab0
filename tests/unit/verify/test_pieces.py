"""An object is used piece by piece, and no piece before it was seen to be right."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.errors import BadBackupError
from postgres_backup.s3.parts import PART_BYTES
from postgres_backup.settings import MOST_PART_BYTES
from postgres_backup.verify.pieces import Cutter, checked
from tests.properties import examples
from tests.unit.memory import peak_of

DATA = bytes(range(256)) * 4


def parts_of(data: bytes, sizes: list[int]) -> list:
    ends = list(itertools.accumulate(sizes))
    return [
        {"bytes": to - at, "sha256": hashlib.sha256(data[at:to]).hexdigest()}
        for at, to in zip([0, *ends], ends, strict=False)
    ]


def in_chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def used(data: bytes, parts: list, chunk: int = 100) -> tuple[bytes, str]:
    """What is handed on, and what is said in the end."""
    handed, said = [], ""
    try:
        for piece in checked(in_chunks(data, chunk), parts, "one"):
            handed.append(piece)
    except BadBackupError as error:
        codes = [found["code"] for found in error.findings]
        said = error.message if codes == ["OBJECT_ALTERED"] else f"findings: {codes}"
    return b"".join(handed), said


SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=8)


@pytest.mark.hypothesis
@settings(max_examples=examples(60))
@given(sizes=SIZES, chunk=st.integers(1, 700), data=st.data())
def test_nothing_of_an_altered_piece_is_used_and_all_before_it_is(sizes, chunk, data):
    whole = (DATA * 3)[: sum(sizes)]
    parts = parts_of(whole, sizes)
    assert used(whole, parts, chunk) == (whole, "")
    at = data.draw(st.integers(0, len(whole) - 1))
    number = next(n for n, end in enumerate(itertools.accumulate(sizes)) if at < end)
    harmed = bytearray(whole)
    harmed[at] ^= 1
    handed, said = used(bytes(harmed), parts, chunk)
    assert handed == whole[: sum(sizes[:number])]
    assert f"piece {number + 1} of {len(sizes)} is not what the manifest says" in said


def test_what_is_cut_swapped_or_longer_is_found():
    parts = parts_of(DATA, [400, 400, 224])
    for cut in (DATA[:-1], DATA[:900], DATA[:800]):
        handed, said = used(cut, parts)
        assert (handed, "piece 3 of 3" in said) == (DATA[:800], True)
    assert "piece 1 of 3" in used(b"", parts)[1]
    swapped, said = used(DATA[400:800] + DATA[:400] + DATA[800:], parts)
    assert (swapped, "piece 1 of 3" in said) == (b"", True)
    for more in (DATA + b"x", DATA + b"x" * 500):
        handed, said = used(more, parts)
        assert (handed, "what follows its last piece" in said) == (DATA, True)
    assert used(b"", []) == (b"", "")


def test_only_as_much_is_read_as_the_piece_takes():
    """The beginning of a large object is looked at without the rest."""
    asked = []

    def source() -> Iterator[bytes]:
        for number in range(100):
            asked.append(number)
            yield DATA

    parts = parts_of(DATA * 100, [2048] * 50)
    assert next(checked(source(), parts, "one")) == DATA
    assert asked == [0, 1]


_OBJECT = """
import hashlib, sys
from postgres_backup.verify.pieces import checked
from postgres_backup.verify.ranges import Pieces
pieces, megabytes = (int(argument) for argument in sys.argv[1:])
block = bytes(1 << 20)
digest = hashlib.sha256()
for _ in range(megabytes):
    digest.update(block)
part = {"bytes": megabytes << 20, "sha256": digest.hexdigest()}
chunks = (bytes(1 << 20) for _ in range(pieces * megabytes))
"""
_ALL = """
count = 0
for chunk in checked(chunks, [part] * pieces, "one"):
    assert len(chunk) == 1 << 20
    count += 1
assert count == pieces * megabytes
"""
_RANGE = """
whole = pieces * megabytes << 20
read = Pieces(chunks, [part] * pieces, "one").read(1, whole)
assert sum(len(chunk) for chunk in read) == whole - 1
"""


@pytest.mark.parametrize("reading", [_ALL, _RANGE], ids=["all of it", "a range of it"])
def test_one_piece_is_held_and_once(reading):
    """MB: two pieces of the largest take what one does, and many small ones next to nothing."""
    small = peak_of(_OBJECT + reading, "40", "8")
    assert small < 70
    assert peak_of(_OBJECT + reading, "2", str(MOST_PART_BYTES >> 20)) - small < 96 - 8 + 4


@pytest.mark.parametrize("chunk", [1 << 20, 3 * PART_BYTES, PART_BYTES, PART_BYTES + 1])
def test_an_object_that_nobody_cut_is_cut(chunk):
    data = bytes(2 * PART_BYTES + 5)
    cutter = Cutter(len(data))
    assert b"".join(cutter.passed(in_chunks(data, chunk))) == data
    assert cutter.parts() == parts_of(data, [PART_BYTES, PART_BYTES, 5])


def test_the_ends_of_cutting():
    assert Cutter(0).parts() == []
    assert Cutter(10_000 * MOST_PART_BYTES + 1)._part_bytes == MOST_PART_BYTES, "can be held"
    terabyte = Cutter(900_000_000_000)
    assert terabyte._part_bytes * 10_000 >= 900_000_000_000
    assert terabyte.parts() == []
