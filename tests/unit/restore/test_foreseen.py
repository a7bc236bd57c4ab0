"""Whom a restore may act as, once it has made the roles that were saved."""

from __future__ import annotations

from postgres_backup.restore.foreseen import with_groups
from postgres_backup.restore.role_statements import CreateRole, Membership


def test_memberships_lead_on():
    saved = [
        CreateRole("clerks"),
        Membership("office", "clerks"),
        Membership("clerks", "shop"),
        Membership("others", "somebody"),
    ]
    assert with_groups({"shop"}, saved) == {"shop", "clerks", "office"}
    assert with_groups({"shop"}, []) == {"shop"}
