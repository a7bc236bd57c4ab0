"""What a server must have to spare."""

from __future__ import annotations

import pytest

from postgres_backup.drill.gentle import BUSY_PART, Seen, require_room
from postgres_backup.errors import DatabaseError


def test_a_server_that_has_time_gives_all_of_the_rate_and_a_busy_one_a_part():
    assert require_room(Seen(100, 50, 0.5), 100) == 1.0
    assert require_room(Seen(None, 50, None), None) == 1.0
    assert require_room(Seen(100, 50, 2.5), 100) == BUSY_PART


@pytest.mark.parametrize(
    ("seen", "code"), [(Seen(9, 50, 0.0), "DISK_SHORT"), (Seen(100, 4, 0.0), "CONNECTIONS_SHORT")]
)
def test_what_gets_short_ends_the_drill_by_its_name(seen, code):
    with pytest.raises(DatabaseError) as caught:
        require_room(seen, 100)
    assert [found["code"] for found in caught.value.findings] == [code]


def test_little_room_that_was_little_before_is_not_the_drills():
    assert require_room(Seen(9, 50, 0.0), 50) == 1.0
