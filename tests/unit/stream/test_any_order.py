"""The same rows in whatever order have the same hash; others have another."""

from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.stream.any_order import AnyOrder
from tests.properties import examples

LINES = st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")), max_size=8)


def of(lines: list[bytes], piece: int = 1000) -> str:
    whole = b"".join(line + b"\n" for line in lines)
    found = AnyOrder()
    for start in range(0, len(whole), piece):
        found.update(memoryview(whole)[start : start + piece])
    return found.hexdigest()


@given(LINES, LINES, st.integers(1, 4))
@settings(max_examples=examples(60))
def test_it_tells_rows_not_places(some, others, piece):
    assert (of(some) == of(others, piece)) == (sorted(some) == sorted(others))
    assert of(some) == of(some[::-1], piece)
