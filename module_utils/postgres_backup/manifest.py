"""The manifest: what is in a backup, and the numbers that prove it. JSON, ``schema: 1``."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from .errors import BadBackupError

SCHEMA = 1
_REQUIRED = ("name", "database", "server", "bytes", "sha256", "tables")


def timestamp(moment: datetime) -> str:
    """``2026-01-27T00:00:00Z``."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def dump(manifest: dict) -> bytes:
    """As bytes for the store; the same manifest gives the same bytes."""
    return (json.dumps({"schema": SCHEMA} | manifest, indent=1, ensure_ascii=False) + "\n").encode()


def parse(data: bytes, key: str) -> dict:
    """A manifest from the store.

    :raises BadBackupError: it is not JSON, of a newer schema, or lacks what every manifest has.
    """
    try:
        found = json.loads(data)
    except ValueError as error:
        raise BadBackupError(f"The manifest {key} is damaged: {error}", "The backup itself may be whole: postgres-backup verify <file>") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        version = found.get("schema") if isinstance(found, dict) else None
        raise BadBackupError(
            f"The manifest {key} has schema {version!r}; this program reads {SCHEMA}", "Use the version of postgres-backup that wrote it, or a newer one"
        )
    missing = [name for name in _REQUIRED if name not in found]
    if missing:
        raise BadBackupError(f"The manifest {key} lacks {', '.join(missing)}", "")
    return found


def tables_of(report) -> dict[str, dict]:
    """The facts of an inspector's report as they stand in a manifest, by qualified table name."""
    return {name: {"rows": facts.rows, "bytes": facts.bytes, "sha256": facts.sha256} for name, facts in sorted(report.tables.items())}


def differences(expected: dict[str, dict], found: dict[str, dict], limit: int = 10) -> list[dict]:
    """Where two sets of tables differ, as findings; at most ``limit``, then one that counts the rest."""
    findings = []
    for name in sorted(expected.keys() | found.keys()):
        want, got = expected.get(name), found.get(name)
        if want is None:
            findings.append({"code": "TABLE_UNEXPECTED", "message": f"{name} is not in the manifest"})
        elif got is None:
            findings.append({"code": "TABLE_MISSING", "message": f"{name} with {want['rows']} rows is missing"})
        elif want["rows"] != got["rows"]:
            findings.append({"code": "ROWS_DIFFER", "message": f"{name} has {got['rows']} rows, the manifest says {want['rows']}"})
        elif want["sha256"] != got["sha256"]:
            findings.append({"code": "DATA_DIFFERS", "message": f"{name} has the right number of rows, but other data"})
    if len(findings) > limit:
        findings[limit:] = [{"code": "MORE", "message": f"and {len(findings) - limit} more tables"}]
    return findings
