"""Whether a journal is as it was written, by the names and what the events say."""

from __future__ import annotations

import pytest

from postgres_backup.catalog import gaps, numbers

JOURNAL = "p/journal/"


def event(number: int, server: str = "db1", day: int | None = None, **more) -> gaps.Read:
    at = f"2026-01-{(day or number or 1):02d}T00:00:00Z"
    name = f"{at[:10]}_00-00-00-{gaps.event_name('backup', server, number)}.json"
    named = gaps.parse(name)
    assert named is not None
    read = gaps.Read(JOURNAL + name, named, server, at, "backup", number, 1, [], "trusted")
    return read._replace(**more)


def found(*read: gaps.Read, hidden: tuple[gaps.Read, ...] = (), row: numbers.Row | None = None):
    """Codes, with the message of each."""
    listed = [one.named for one in (*read, *hidden)]
    told = gaps.findings_of(JOURNAL, listed, read, {"db1": row} if row else {})
    return [(one["code"], one["message"]) for one in told]


def test_a_whole_one_has_nothing_to_tell():
    assert found(*(event(number) for number in range(1, 9))) == []
    assert found() == []
    assert found(event(3), event(4), hidden=(event(1), event(2))) == [], "older ones are not read"


@pytest.mark.parametrize(
    ("gone", "told"), [((2,), "events 2 "), ((1,), "events 1 "), ((2, 3, 5), "events 2 to 3, 5 ")]
)
def test_one_that_was_deleted_is_missing(gone, told):
    [(code, message)] = found(*(event(n) for n in range(1, 8) if n not in gone))
    assert code == "EVENT_MISSING"
    assert told in message


def test_the_newest_is_missed_by_the_server_that_wrote_it():
    row = numbers.new_row(5)
    assert found(*(event(n) for n in range(1, 6)), row=row) == []
    [(code, message)] = found(*(event(n) for n in range(1, 5)), row=row)
    assert (code, "events 5 " in message) == ("EVENT_MISSING", True)
    row["open"]["5"] = "2026-01-05T00:00:00Z"
    assert [code for code, _ in found(*(event(n) for n in range(1, 5)), row=row)] == []


def test_a_night_without_a_store_is_none():
    lost = [{"first": 2, "last": 3}]
    [(code, message)] = found(event(1), event(4, lost=lost))
    assert (code, "2 to 3 were never written" in message) == ("EVENT_NOT_WRITTEN", True)
    assert found(event(1), event(2), event(3), event(4, lost=lost)) == []
    codes = [code for code, _ in found(event(1), event(5, lost=lost))]
    assert codes == ["EVENT_MISSING", "EVENT_NOT_WRITTEN"]


def test_what_was_pruned_is_not_missed_and_nobody_else_can_say_so():
    kept = [event(n, begins=5) for n in range(5, 8)]
    assert found(*kept) == []
    lies = event(8, begins=7, signature="stranger")
    codes = [code for code, _ in found(event(6, begins=5), event(7, begins=5), lies)]
    assert codes == ["EVENT_FOREIGN", "EVENT_MISSING"]


def test_another_servers_numbers_fill_no_gap():
    others = [event(n, server) for n in (1, 2, 3) for server in ("x-db1", "db1.x", "db")]
    [(code, message)] = found(event(1), event(3), *others)
    assert (code, "of db1 the events 2 " in message) == ("EVENT_MISSING", True)


@pytest.mark.parametrize("kind", ["unsigned", "stranger"])
def test_what_a_stranger_puts_there_is_named(kind):
    own = [event(1), event(2)]
    [(code, message)] = found(*own, event(3, signature=kind))
    assert (code, event(3).key in message) == ("EVENT_FOREIGN", True)
    unnumbered = event(0, day=20, signature=kind)
    assert [code for code, _ in found(*own, unnumbered)] == ["EVENT_FOREIGN"]


def test_old_ones_without_a_number_are_not_blamed():
    old = [event(0, day=1, signature="unsigned"), event(0, day=2)]
    assert found(*old) == []
    assert found(*old, event(1, day=3), event(2, day=4)) == []
    assert found(*old, event(0, day=9), event(1, day=3)) == [], "an older version wrote it"


def test_of_a_server_whose_key_nobody_knows_nobody_can_tell():
    assert found(event(1, signature="stranger"), event(5, signature="stranger")) == []
    assert found(event(1, signature="unsigned"), event(5, signature="unsigned")) == []


def test_an_event_under_another_name_is_not_where_it_was_written():
    moved = event(2)._replace(named=event(3).named)
    codes = [code for code, _ in found(event(1), event(2), moved)]
    assert codes == ["EVENT_FOREIGN"]
    of_another = event(2, "db2")._replace(named=event(2).named, key="k")
    assert next(code for code, _ in found(event(1), of_another)) == "EVENT_FOREIGN"


def test_one_number_for_two_events():
    [(code, _)] = found(event(1), event(2), event(2, day=9))
    assert code == "EVENT_TWICE"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x.json",
        "2026-01-01_00-00-00-.json",
        "2026-01-01_00-00-00-000001-.json",
        "2026-01-01_00-00-00-backup-x",
    ],
)
def test_what_is_no_name(name):
    assert gaps.parse(name) is None or gaps.parse(name).number == 0
