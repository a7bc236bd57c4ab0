"""The manifest: what is in a backup, and the numbers that prove it. JSON, ``schema: 1``."""

from __future__ import annotations

import json

from ..errors import BadBackupError
from ..findings import finding

SCHEMA = 1
#: what every manifest has, and of which kind; whoever reads one relies on it
_REQUIRED = {
    "name": str,
    "database": str,
    "server": dict,
    "bytes": int,
    "dump_bytes": int,
    "rows": int,
    "sha256": str,
    "tables": dict,
}


def dump(manifest: dict) -> bytes:
    """As bytes for the store; the same manifest gives the same bytes."""
    return (json.dumps({"schema": SCHEMA} | manifest, indent=1, ensure_ascii=False) + "\n").encode()


def parse(data: bytes, key: str) -> dict:
    """A manifest from the store.

    :raises BadBackupError: it is not JSON, of a newer schema, or lacks what every manifest has.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(key, str(error)) from None
    version = found.get("schema") if isinstance(found, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise BadBackupError(
            f"The manifest {key} has schema {version}; this program reads {SCHEMA}",
            "Use the version of postgres-backup that wrote it, or a newer one",
            [finding("MANIFEST_NEWER", f"schema {version}")],
        )
    if version != SCHEMA:
        raise _damaged(key, "it is not one of ours")
    wrong = [name for name, kind in _REQUIRED.items() if not isinstance(found.get(name), kind)]
    wrong += (
        [f"tables.{name}" for name, facts in found["tables"].items() if not _is_table(facts)][:3]
        if "tables" not in wrong
        else []
    )
    if wrong:
        raise _damaged(key, f"no sensible {', '.join(wrong)}")
    return found


def _is_table(facts: object) -> bool:
    return (
        isinstance(facts, dict)
        and isinstance(facts.get("rows"), int)
        and isinstance(facts.get("sha256"), str)
    )


def _damaged(key: str, why: str) -> BadBackupError:
    return BadBackupError(
        f"The manifest {key} is damaged: {why}",
        "The backup itself may be whole: postgres-backup verify <file>",
        [finding("MANIFEST_DAMAGED", why)],
    )


def tables_of(report) -> dict[str, dict]:
    """The facts of an inspector's report as they stand in a manifest, by qualified table name."""
    return {
        name: {"rows": facts.rows, "bytes": facts.bytes, "sha256": facts.sha256}
        for name, facts in sorted(report.tables.items())
    }


def differences(expected: dict[str, dict], found: dict[str, dict], limit: int = 10) -> list[dict]:
    """Where two sets of tables differ, as findings; at most ``limit``, then one that counts the
    rest.
    """
    findings = []
    for name in sorted(expected.keys() | found.keys()):
        want, got = expected.get(name), found.get(name)
        if want is None:
            findings.append(finding("TABLE_UNEXPECTED", f"{name} is not in the manifest"))
        elif got is None:
            findings.append(finding("TABLE_MISSING", f"{name} with {want['rows']} rows is missing"))
        elif want["rows"] != got["rows"]:
            findings.append(
                finding(
                    "ROWS_DIFFER",
                    f"{name} has {got['rows']} rows, the manifest says {want['rows']}",
                )
            )
        elif want["sha256"] != got["sha256"]:
            findings.append(
                finding("DATA_DIFFERS", f"{name} has the right number of rows, but other data")
            )
    if len(findings) > limit:
        findings[limit:] = [finding("MORE", f"and {len(findings) - limit} more tables")]
    return findings
