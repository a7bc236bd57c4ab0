"""The code of an error, out of what libpq writes down of a connection that failed."""

from __future__ import annotations

import pytest

from postgres_backup.postgresql import sqlstate

# of PostgreSQL 15 with Russian messages, by libpq 18
REFUSED = """\
F\t8\tSSLRequest\t 1234 5679
B\t1\tSSLResponse\t N
F\t63\tStartupMessage\t 3 0 "user" "postgres" "database" "nodb"
B\t118\tErrorResponse\t S "ВАЖНО" V "FATAL" C "3D000" M "база данных "nodb" не существует" \\x00
"""


@pytest.mark.parametrize(
    ("trace", "code"),
    [
        (REFUSED, "3D000"),
        (REFUSED.replace('C "3D000"', 'C "53300"'), "53300"),
        (REFUSED.replace("B\t118", "F\t118"), ""),
        ('B\t9\tNoticeResponse\t S "NOTICE" V "NOTICE" C "00000" M "x" \\x00\n', ""),
        ("", ""),
    ],
)
def test_the_code_stands_in_what_the_server_answers(trace, code):
    assert sqlstate.code_in(trace.encode()) == code
