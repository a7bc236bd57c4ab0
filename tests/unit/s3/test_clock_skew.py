"""No age is trusted where this machine's clock and the store's disagree."""

import pytest

from postgres_backup.errors import PostgresBackupError
from postgres_backup.s3.clock_skew import MAX_CLOCK_DIFFERENCE, clock_fault, require_honest_clock


class StoreWith:
    """A store as far as its clock goes."""

    def __init__(self, difference: float) -> None:
        self.difference = difference

    def clock_difference(self) -> float:
        return self.difference


@pytest.mark.parametrize("difference", [0, -MAX_CLOCK_DIFFERENCE, MAX_CLOCK_DIFFERENCE])
def test_a_difference_that_s3_bears_is_borne(difference):
    assert clock_fault(difference) == ""
    require_honest_clock(StoreWith(difference))


@pytest.mark.parametrize(("difference", "where"), [(-3600, "behind"), (3600, "ahead of")])
def test_more_stops_what_deletes_and_says_which_way(difference, where):
    assert clock_fault(difference) == f"this machine's clock is 60 minutes {where} the store's"
    with pytest.raises(PostgresBackupError, match=where) as caught:
        require_honest_clock(StoreWith(difference))
    assert [one["code"] for one in caught.value.findings] == ["CLOCK_DIFFERS"]
    assert "nothing was deleted" in caught.value.hint
