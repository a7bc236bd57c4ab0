"""The backups of the cluster and the drills of every second in the journal: PostgreSQL's user makes
them, who has no hand in it, so they are noted by the next that looks.
"""

from __future__ import annotations

from typing import Annotated

from ..catalog import journal
from ..catalog.names import Layout
from ..clock import utc_now
from ..errors import StoreError
from ..findings import Finding, finding
from ..machine import state
from ..s3.store import Store
from ..settings import Settings
from ..shapes.kinds import Moment
from .archiving import Look

#: ``at`` of the last drill that is in the journal, ``backup`` of the last backup
NOTED = state.Kept("pitr-drill-noted.json", dict[str, Annotated[str, Moment()]])


def note(settings: Settings, seen: Look | None) -> list[Finding]:
    """Write the last of each into the journal, where it is not there yet.

    :param seen: what :func:`.archiving.known` gives.
    :return: findings: what could not be noted.
    """
    if seen is None:
        return []
    noted = dict(state.read(settings, NOTED))
    events: list[tuple[str, dict[str, object]]] = []
    last = seen.get("drill")
    if last and noted.get("at") != last["at"]:
        noted["at"] = last["at"]
        why = {} if last["passed"] else {"reason": last["said"]}
        event = "pitr-drill" if last["passed"] else "pitr-drill-failed"
        events.append((event, {"seconds": last["seconds"], **why}))
    newest = seen["newest_at"]
    if newest and noted.get("backup") != newest:
        noted["backup"] = newest
        full = newest == seen["newest_full_at"]
        events.append(("pitr-backup-full" if full else "pitr-backup", {}))
    if not events:
        return []
    found = state.write(settings, NOTED, noted)
    try:
        store = Store(settings)
        for event, facts in events:
            found += journal.record(store, Layout(settings.s3_prefix), utc_now(), event, facts)
    except StoreError as error:
        found.append(finding("JOURNAL_NOT_WRITTEN", error.message))
    return found
