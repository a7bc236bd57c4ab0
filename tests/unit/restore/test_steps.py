"""What the module restore hands to the step of a restore."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

from ansible.module_utils.postgres_backup.restore import steps as shipped

from library import postgres_backup_restore as module
from postgres_backup.restore import steps


def test_every_option_of_the_module_is_of_the_job_or_of_the_step(monkeypatch):
    handed = {}

    def perform_step(job, **options):
        handed.update(options)
        return {}

    monkeypatch.setattr(shipped, "perform_step", perform_step)
    monkeypatch.setattr(shipped, "lines", lambda *_: [])
    params = dict.fromkeys(module.ARGUMENT_SPEC)
    module.perform(SimpleNamespace(job=None, params=params, check=False))
    known = set(inspect.signature(steps.perform_step).parameters) - {"job"}
    assert set(handed) == known
