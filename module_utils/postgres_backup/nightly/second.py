"""What a night copies to the second store, once all has been told: whatever becomes of it, the
night's backups are in the first.
"""

from __future__ import annotations

from ..copying import copy
from ..errors import in_words
from ..findings import Finding
from ..job import Job
from ..machine import signals


def copy_at_night(job: Job) -> list[Finding]:
    """Copy what is not there yet; nothing where there is no second store.

    :param job: of no database.
    :return: findings: COPY_FAILED with why, and what could not be noted.
    """
    if not job.settings.has_copy:
        return []
    try:
        signals.heed()
        findings = copy.copy_backups(job)["findings"]
        signals.defer()
        return findings
    except KeyboardInterrupt as stop:
        return [copy.failed(job.settings, signals.stopped(stop))]
    except Exception as any_error:  # noqa: BLE001 - whatever it is, the night's backups are there
        error = in_words(any_error)
        return [copy.failed(job.settings, error), *error.findings]
    finally:
        signals.defer()
