"""How an upload is cut into parts: pure arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.errors import StoreError
from postgres_backup.s3.parts import (
    BUFFER_BYTES,
    MIB,
    MOST_BUFFER_BYTES,
    PART_BYTES,
    SPARE,
    plan_parts,
)

GB = 10**9
LIMITS = st.sampled_from([1, 2, 10, 100, 1000, 10_000])


@given(expected=st.integers(0, 2 * 10**12), limit=LIMITS)
def test_what_is_expected_fits_and_memory_is_bounded(expected, limit):
    try:
        plan = plan_parts(expected, limit)
    except StoreError:
        assert expected > limit * MOST_BUFFER_BYTES
        return
    assert plan.part_bytes * limit >= expected
    assert PART_BYTES <= plan.part_bytes <= MOST_BUFFER_BYTES
    assert plan.part_bytes % MIB == 0
    assert 1 <= plan.workers <= plan.buffers
    assert plan.part_bytes * plan.buffers <= MOST_BUFFER_BYTES
    if plan.part_bytes * 2 <= BUFFER_BYTES:
        assert plan.buffers >= 2, "one is filled while another is on its way"
        assert plan.part_bytes * plan.buffers <= BUFFER_BYTES


@given(expected=st.integers(0, 5 * 10**11))
def test_there_is_room_to_spare(expected):
    plan = plan_parts(expected, 10_000)
    assert plan.part_bytes * 10_000 >= expected * SPARE


@given(expected=st.integers(0, 10**12), more=st.integers(0, 10**11), limit=LIMITS)
def test_more_bytes_never_make_smaller_parts(expected, more, limit):
    if expected + more <= limit * MOST_BUFFER_BYTES:
        assert (
            plan_parts(expected, limit).part_bytes <= plan_parts(expected + more, limit).part_bytes
        )


@pytest.mark.parametrize("expected", [0, 1, GB, 50 * GB])
def test_ordinary_databases_get_small_parts_and_several_workers(expected):
    plan = plan_parts(expected, 10_000)
    assert plan.part_bytes == PART_BYTES
    assert plan.workers == 3


def test_a_store_of_a_thousand_parts():
    assert plan_parts(20 * GB, 1000).part_bytes == 29 * MIB
    assert plan_parts(90 * GB, 1000).workers == 1


def test_too_large_says_what_to_do():
    with pytest.raises(StoreError, match="1000 parts hold at most 101 GB") as caught:
        plan_parts(200 * GB, 1000)
    assert "backup_s3_max_parts" in caught.value.hint
    assert "pgBackRest" in caught.value.hint
