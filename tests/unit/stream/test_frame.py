"""A dump whose rows are left out reads, but for their entries, as the whole one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.stream.frame import Frame
from postgres_backup.stream.inspector import Inspector
from tests.properties import examples
from tests.unit.stream.dumps import HEADER, TRAILER, in_pieces


def definition(number: int) -> bytes:
    return (
        b"--\n-- Name: t%d; Type: TABLE; Schema: public; Owner: o\n--\n\n"
        b"CREATE TABLE public.t%d (\n"
        b"    id integer -- Data for Name: x; Type: TABLE DATA; y\n);\n\n\n"
    ) % (number, number)


def rows(number: int) -> bytes:
    return (
        b"--\n-- Data for Name: t%d; Type: TABLE DATA; Schema: public; Owner: o\n--\n\n"
        b"COPY public.t%d (id) FROM stdin;\n1\n-- Name: x\n\\.\n\n\n"
    ) % (number, number)


OTHERS = (
    b"--\n-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -\n--\n\nBEGIN;\n\nCOMMIT;\n\n",
    b"SET default_tablespace = other;\n\n--\n-- Name: i; Type: INDEX\n--\n\nSELECT 1;\n\n",
    b"--\n-- Name: f(); Type: FUNCTION; Schema: p; Owner: o\n--\n\nSELECT $$\n--\n-- a\n$$;\n\n",
    b"SELECT '" + b"x" * 70_000 + b"';\n\n",
)
ENTRIES = st.lists(st.integers(0, 9), max_size=8)


def of(entries: list[bytes], cuts: list[int] = ()) -> str:
    inspector = Inspector()
    inspector.frame = Frame()
    for piece in in_pieces(HEADER + b"".join(entries) + TRAILER, cuts):
        inspector.feed(piece)
    report = inspector.finish()
    assert report.complete
    return report.frame_sha256


@given(ENTRIES, st.sets(st.integers(0, 5)), st.lists(st.integers(1, 90), max_size=40))
@settings(max_examples=examples(150))
def test_entries_with_rows_make_no_difference_and_all_others_do(entries, without, cuts):
    made = b"".join(map(definition, range(6)))
    whole, less, none = [made], [made], [made]
    for number in entries:
        other = OTHERS[number % 4] if number > 5 else rows(number)
        whole.append(other)
        less += [other] * (number not in without)
        none += [other] * (number > 5)
    assert of(whole, cuts) == of(less) == of(none, cuts)
    assert of(whole) != of([*whole, definition(7)])
    if any(number > 5 for number in entries):
        assert of(whole) != of([one for one in whole if one not in OTHERS], cuts)
