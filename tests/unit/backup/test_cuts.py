"""Where a dump is cut into members: the same text in whatever pieces it comes."""

from __future__ import annotations

import gzip
import random

import pytest
import zstandard

from postgres_backup.backup.cuts import Cut, with_cuts
from postgres_backup.stream.codec import Chain, decompress
from postgres_backup.stream.inspector import Inspector
from tests.unit.stream.dumps import HEADER, TRAILER, in_pieces

TABLES = ("public.small", "public.a", "public.b", "public.between", 'public."c d"')
LARGE = frozenset(("public.a", "public.b", 'public."c d"'))


def copied(table: str) -> bytes:
    rows = b"".join(b"%d\tsaid\n" % number for number in range(50))
    head = f"--\n-- Data for Name: {table}\n--\n\nCOPY {table} (id, said) FROM stdin;\n".encode()
    return head + rows + b"\\.\n\n"


DUMP = HEADER + b"SET x = 1;\n" + b"".join(map(copied, TABLES)) + b"SELECT 1;\n" + TRAILER


def cut_up(pieces):
    inspector = Inspector()
    inspector.large = LARGE

    def seen():
        for piece in pieces:
            inspector.feed(piece)
            yield piece

    members, table = [("", b"")], ""
    for piece in with_cuts(seen(), inspector):
        if isinstance(piece, Cut):
            table = piece.table
            members.append((table, b""))
        else:
            members[-1] = (table, members[-1][1] + piece)
    assert not inspector.finish().findings
    return members


def test_each_large_table_is_a_member_that_holds_nothing_else():
    members = cut_up([DUMP[at : at + 400] for at in range(0, len(DUMP), 400)])
    assert b"".join(text for _, text in members) == DUMP
    named = {table: text for table, text in members if table}
    assert named.keys() == LARGE
    for table, text in named.items():
        assert text.startswith(f"COPY {table} (".encode())
        assert text.endswith(b"\\.\n")
        assert text.count(b"COPY ") == 1


def test_in_whatever_pieces_it_comes_nothing_is_lost_and_no_member_holds_more():
    for seed in range(300):
        rng = random.Random(seed)
        widths = [rng.choice((1, 7, 60, 300, 2000)) for _ in range(len(DUMP))]
        members = cut_up(in_pieces(DUMP, widths))
        assert b"".join(text for _, text in members) == DUMP
        for table, text in members:
            if table:
                assert (text[:5], text[-3:], text.count(b"COPY ")) == (b"COPY ", b"\\.\n", 1)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_stock_tools_read_all_and_each_member_alone(compression):
    chain, packed, places = Chain(compression), b"", []
    for text in (b"a" * 1000, b"b" * 1000, b"c" * 1000):
        packed += chain.write(text)
        if text[:1] != b"c":
            packed += chain.cut()
            places.append(len(packed))
    packed += chain.finish()
    whole = b"a" * 1000 + b"b" * 1000 + b"c" * 1000
    if compression == "gzip":
        assert gzip.decompress(packed) == whole
    else:
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        assert reader.read() == whole
    middle = packed[places[0] : places[1]]
    assert b"".join(decompress([middle], compression)) == b"b" * 1000
