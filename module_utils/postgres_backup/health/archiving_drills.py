"""The drills of every second in the journal: PostgreSQL's user makes them, who has no hand in it,
so they are noted by the next that looks.
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

#: ``at`` of the last one that is in the journal
NOTED = state.Kept("pitr-drill-noted.json", dict[str, Annotated[str, Moment()]])


def note(settings: Settings, seen: Look | None) -> list[Finding]:
    """Write the last one into the journal, where it is not there yet.

    :param seen: what :func:`.archiving.known` gives.
    :return: findings: what could not be noted.
    """
    last = seen.get("drill") if seen else None
    if not last or state.read(settings, NOTED).get("at") == last["at"]:
        return []
    event = "pitr-drill" if last["passed"] else "pitr-drill-failed"
    facts: dict[str, object] = {"seconds": last["seconds"]}
    facts |= {} if last["passed"] else {"reason": last["said"]}
    found = state.write(settings, NOTED, {"at": last["at"]})
    try:
        store = Store(settings)
        found += journal.record(store, Layout(settings.s3_prefix), utc_now(), event, facts)
    except StoreError as error:
        found.append(finding("JOURNAL_NOT_WRITTEN", error.message))
    return found
