"""How grave a finding is, and what becomes of a check: what nobody looked at passes nowhere."""

from __future__ import annotations

import pytest

from postgres_backup.drill.levels import (
    CHECKS,
    LEVELS,
    TABLE,
    UNKNOWN,
    at_or_above,
    checks_of,
    judged,
    stops,
)
from postgres_backup.findings import CODES, GROUPS, finding


def outcomes(findings=(), made=CHECKS, names=CHECKS) -> dict[str, str]:
    return {one["check"]: one["outcome"] for one in checks_of(findings, list(made), list(names))}


def test_every_code_of_the_table_is_known_and_belongs_to_a_check():
    assert set(TABLE) | set(UNKNOWN) <= set(CODES)
    assert {check for check, _ in TABLE.values()} <= set(CHECKS)
    assert {level for _, level in TABLE.values()} <= set(LEVELS)


def test_every_code_of_a_drill_has_its_level():
    own = {code for codes in GROUPS["What a drill finds"] for code in codes}
    assert own - set(TABLE) == {"NOT_CHECKED"}


def test_what_was_made_and_found_nothing_has_passed_and_nothing_else():
    assert set(outcomes().values()) == {"passed"}
    assert set(outcomes(made=()).values()) == {"unchecked"}
    assert outcomes(made=("rows",))["content"] == "unchecked"
    assert outcomes(made=(), names=("query: x",))["query: x"] == "unchecked"


@pytest.mark.parametrize("code", UNKNOWN)
def test_what_nobody_could_look_at_is_no_pass_at_any_level(code):
    found = judged(finding(code, "why"), "rows")
    assert outcomes([found])["rows"] in ("unchecked", "failed")


def test_a_check_is_as_bad_as_its_gravest_finding():
    warning = judged(finding("SIZE_DROPPED", "why"))
    assert outcomes([warning])["size"] == "warning"
    assert outcomes([warning, judged(finding("RTO_EXCEEDED", "why"))])["time"] == "failed"
    failed = judged(finding("ROWS_DIFFER", "why"))
    unproven = judged(finding("UNPROVEN", "why"))
    assert outcomes([unproven, failed])["rows"] == "failed"
    assert outcomes([unproven])["rows"] == "unchecked"


def test_what_stopped_a_drill_is_no_note():
    note = finding("SUBSCRIPTION_OFF", "why")
    assert judged(note)["level"] == "note"
    assert stops(note)["level"] == "failed"


@pytest.mark.parametrize(("level", "caught"), [("failed", 1), ("warning", 2), ("note", 3)])
def test_a_level_is_met_by_all_that_is_as_grave(level, caught):
    made = [
        judged(finding(code, "why")) for code in ("ROWS_DIFFER", "SIZE_DROPPED", "SUBSCRIPTION_OFF")
    ]
    assert len(at_or_above(made, level)) == caught
