"""What was read before: one file, and whatever can happen to it."""

from __future__ import annotations

import datetime
import os
import random
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from postgres_backup.machine import records
from postgres_backup.s3 import seen
from postgres_backup.s3.client import StoredObject, md5
from postgres_backup.s3.seen import NAME, Seen
from postgres_backup.settings import Settings
from tests.damaged import spoil

NOW = datetime.datetime(2026, 1, 27, tzinfo=datetime.timezone.utc)
ONE, TWO = ("manifests/one.json", b'{"one": 1}'), ("manifests/two.json", b'{"two": 2}' * 100)


def told(key: str, data: bytes, etag: str = "") -> StoredObject:
    return StoredObject(key, len(data), NOW, etag or md5(data).hex())


@pytest.fixture
def settings(tmp_path) -> Settings:
    words = ("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret")
    return Settings(*words, state_dir=str(tmp_path))


def known(settings: Settings, *objects: tuple[str, bytes]) -> dict[str, bytes]:
    """What a new connection need not ask for, whose listing shows these."""
    later = Seen(settings)
    later.tell(told(*one) for one in objects)
    return dict(later.known([key for key, _ in objects]))


def read(settings: Settings, *objects: tuple[str, bytes]) -> None:
    """A connection lists and reads these."""
    first = Seen(settings)
    first.tell(told(*one) for one in objects)
    for one in objects:
        first.note(*one)
    first.keep()


def file_of(settings: Settings) -> Path:
    return Path(settings.state_dir) / NAME


def test_what_was_read_is_known(settings):
    assert known(settings, ONE, TWO) == {}
    read(settings, ONE, TWO)
    assert known(settings, ONE, TWO) == dict([ONE, TWO])
    read(settings, ("a", b"third"))
    assert known(settings, ONE, TWO, ("a", b"third")) == dict([ONE, TWO, ("a", b"third")])
    assert stat.S_IMODE(file_of(settings).stat().st_mode) == 0o600


def test_what_we_wrote_is_known_but_for_what_is_no_description(settings):
    writer = Seen(settings)
    writer.written("a.json", b"where nobody looks, nobody needs it")
    writer.keep(make=False)
    assert not file_of(settings).exists()
    read(settings, ONE)
    for key in ("a.json", "a.json.sig", "globals/a.sql.gz"):
        writer.written(key, key.encode())
    writer.keep(make=False)
    asked = [(key, key.encode()) for key in ("a.json", "a.json.sig", "globals/a.sql.gz")]
    assert known(settings, *asked).keys() == {"a.json", "a.json.sig"}


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(lambda data: told(ONE[0], b"{}"), id="another content"),
        pytest.param(lambda data: told(ONE[0], data + b" "), id="longer"),
        pytest.param(lambda data: told(ONE[0], data, "0" * 32), id="another etag"),
        pytest.param(lambda data: told(ONE[0], data, f"{md5(data).hex()}-1"), id="in parts"),
        pytest.param(
            lambda data: StoredObject(ONE[0], len(data) + 1, NOW, md5(data).hex()), id="lie"
        ),
    ],
)
def test_what_has_changed_is_asked_for(settings, now: Callable[[bytes], StoredObject]):
    read(settings, ONE)
    later = Seen(settings)
    later.tell([now(ONE[1])])
    assert dict(later.known([ONE[0]])) == {}


def test_what_no_listing_shows_is_asked_for(settings):
    read(settings, ONE)
    later = Seen(settings)
    assert dict(later.known([ONE[0]])) == {}
    later.tell([told(*ONE)])
    assert dict(later.known([ONE[0]])) == dict([ONE])
    later.forget(ONE[0])
    assert dict(later.known([ONE[0]])) == {}


def test_an_answer_that_is_not_what_was_listed_is_not_kept(settings):
    first = Seen(settings)
    first.tell([told(*ONE)])
    first.note(ONE[0], b"<html>please log in</html>")
    first.note(ONE[0], ONE[1].replace(b"1", b"2"))
    first.keep()
    assert not file_of(settings).exists()


def test_whatever_becomes_of_the_file_only_what_was_stored_comes_out(settings):
    """Bytes overwritten, cut and inserted, by a fixed seed; and it goes on being written."""
    chance = random.Random(21)
    objects = [(f"{n}.json", chance.randbytes(chance.randrange(1, 400))) for n in range(30)]
    read(settings, *objects)
    whole, path = file_of(settings).read_bytes(), file_of(settings)
    lost = 0
    for _ in range(300):
        spoiled = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            spoil(chance, spoiled)
            if not spoiled:
                break
        path.write_bytes(spoiled)
        found = known(settings, *objects)
        assert found.items() <= dict(objects).items()
        lost += len(found) < len(objects)
        read(settings, ("new.json", b"new"))
        assert known(settings, ("new.json", b"new"))
    assert lost > 250


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "empty", "text", "zeros"])
def test_whatever_lies_in_its_place_stops_nothing(settings, kind, tmp_path):
    path, elsewhere = file_of(settings), tmp_path / "elsewhere"
    elsewhere.write_text("somebody's")
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(elsewhere),
        "empty": path.touch,
        "text": lambda: path.write_text("hello\n"),
        "zeros": lambda: path.write_bytes(bytes(1000)),
    }[kind]()
    read(settings, ONE)
    assert elsewhere.read_text() == "somebody's"
    written = kind in ("empty", "text", "zeros")
    assert known(settings, ONE) == (dict([ONE]) if written else {})


def test_a_bomb_is_not_unpacked(settings):
    """A record that says 10 bytes and holds a gigabyte."""
    data = b"0123456789"
    packed = zlib.compressobj(9)
    begun = packed.compress(b"") + packed.flush(zlib.Z_FULL_FLUSH)
    # from where all was handed out on, the same again means the same again
    bomb = begun + 1024 * (packed.compress(bytes(1 << 20)) + packed.flush(zlib.Z_FULL_FLUSH))
    head = struct.pack(">16sII", md5(data), len(data), len(bomb))
    file_of(settings).write_bytes(b"pgbseen1" + head + bomb)
    assert known(settings, ("a.json", data)) == {}


def test_a_file_of_countless_records_takes_no_more_memory(settings, monkeypatch):
    """It begins anew, with what is used."""
    monkeypatch.setattr(records, "_MOST_RECORDS", 5)
    nine = [(f"{number}.json", f"{number}".encode()) for number in range(9)]
    read(settings, *nine)
    assert known(settings, *nine) == dict(nine[:5])
    later = Seen(settings)
    later.tell(told(*one) for one in (nine[0], ONE))
    assert dict(later.known([nine[0][0]])) == dict(nine[:1])
    later.note(*ONE)
    later.keep()
    assert known(settings, *nine, ONE) == dict([nine[0], ONE])


def test_two_that_write_at_once_keep_what_both_have_read(settings):
    one, two = Seen(settings), Seen(settings)
    for connection, its in ((one, ONE), (two, TWO)):
        connection.tell([told(*its)])
        assert dict(connection.known([its[0]])) == {}
        connection.note(*its)
    one.keep()
    two.keep()
    assert known(settings, ONE, TWO) == dict([ONE, TWO])


def test_the_file_has_a_bound(settings, monkeypatch):
    """What is still used outlives what is not."""
    monkeypatch.setattr(seen, "MOST_BYTES", 20_000)
    chance = random.Random(3)
    used = ("used.json", chance.randbytes(300))
    read(settings, used)
    for night in range(200):
        later, new = Seen(settings), (f"{night}.json", chance.randbytes(300))
        later.tell([told(*used), told(*new)])
        assert dict(later.known([used[0], new[0]])) == dict([used])
        later.note(*new)
        later.keep()
        assert file_of(settings).stat().st_size <= 20_000
        assert known(settings, new) == dict([new])


def test_what_another_has_begun_anew_is_read_where_it_stands_now(settings, monkeypatch):
    """Of the places that this one knows from the file before none is right any more."""
    monkeypatch.setattr(seen, "MOST_BYTES", 10_000)
    chance = random.Random(5)
    used = [(f"{n}.json", chance.randbytes(300)) for n in range(3)]
    read(settings, ("older.json", chance.randbytes(200)), *used)
    mine, other = Seen(settings), Seen(settings)
    for connection in (mine, other):
        connection.tell(told(*one) for one in used)
        assert dict(connection.known([key for key, _ in used])) == dict(used)
    for connection in (other, mine):
        before = file_of(settings).stat().st_ino
        while file_of(settings).stat().st_ino == before:
            new = [(f"{n}.json", chance.randbytes(300)) for n in range(10, 15)]
            connection.tell(told(*one) for one in new)
            for one in new:
                connection.note(*one)
            connection.keep()
        assert known(settings, *used, *new) == dict([*used, *new])


def test_a_folder_that_cannot_be_written_costs_only_time(settings, tmp_path):
    gone = Settings(
        *("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret"),
        state_dir=str(tmp_path / "none"),
    )
    read(gone, ONE)
    assert known(gone, ONE) == {}
