"""What a plan tells, as a result and to a person."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.postgresql.facts import DatabaseFacts, ServerFacts
from postgres_backup.postgresql.programs import Programs
from postgres_backup.restore.plan import Plan, plan_lines
from postgres_backup.restore.role_statements import CreateRole

NAME = "postgres-backup-2026-01-27_00-00-00.sql.gz"


@pytest.fixture
def plan() -> Plan:
    name = BackupName.parse(NAME)
    assert name is not None
    return Plan(
        backup=Backup(name, Layout("postgres-backup"), 246_000_000),
        database="crm",
        server=ServerFacts("16.3", 160003, 16, True, True, True, "/data", "1"),
        superusers=("postgres",),
        tools=Programs.__new__(Programs),
        live=DatabaseFacts("owner"),
        wanted=DatabaseFacts("owner"),
        missing_roles=("clerk",),
        role_statements=(CreateRole("clerk"),),
        sessions=3,
        needed_bytes=2_000_000_000,
        free_bytes=None,
        findings=(),
    )


def test_a_result_tells_the_part_of_it_that_is_known(plan):
    assert plan.describe() == {
        "backup": NAME,
        "database": "crm",
        "key": f"postgres-backup/{NAME}",
        "bytes": 246_000_000,
        "rows": None,
        "proven": False,
        "replaces": True,
        "missing_roles": ["clerk"],
        "sessions": 3,
        "needed_bytes": 2_000_000_000,
        "free_bytes": None,
        "findings": [],
    }
    assert not plan.dumped_by_us


def test_a_person_reads_what_is_going_to_happen(plan):
    assert plan_lines(plan.describe(), in_place=False) == [
        (
            f"crm would become what it was in {NAME} (an unknown number of rows, 246.0 MB, "
            "not yet read to its end by anybody: that comes first)"
        ),
        "The database as it is would be kept as crm_before_<time>",
        "Roles that are made first: clerk",
        "Connections that the swap closes: 3",
    ]
    alone = dataclasses.replace(plan, live=None, missing_roles=(), sessions=0, free_bytes=10**9)
    assert plan_lines(alone.describe(), in_place=False)[1:] == [
        "There is no database crm now",
        "Room for a second copy: 2.0 GB needed, 1.0 GB free",
    ]
    assert "nothing is kept to go back to" in plan_lines(plan.describe(), in_place=True)[1]
