"""One voice: log, command line and module say the same of one result."""

from __future__ import annotations

import re

from postgres_backup.backup import database as backup
from postgres_backup.backup import kit, prune
from postgres_backup.cli.way_back import ALONE, ALONE_BACK
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress, Recorder
from postgres_backup.restore import database, steps, tables
from postgres_backup.verify import verify
from tests.integration import engine


def untimed(lines: list[str]) -> list[str]:
    """Without what differs from one call to the next."""
    told = (re.sub(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", "TIME", line) for line in lines)
    # the size of a database that lives: PostgreSQL adds maps of free room when it likes
    told = (re.sub(r"_before_TIME, [\d.]+ MB", "_before_TIME, SIZE", line) for line in told)
    # how long there is no newer backup, until now
    told = (re.sub(r" to \d{4}-\d\d-\d\dT[\d:]+Z$", " to NOW", line) for line in told)
    return [re.sub(r"[\d.]+ (s|min)\b", "AGE", line) for line in told]


#: what is typed -> the module that does the same, and its options
SAME = {
    "prune --check": ("postgres_backup_prune", {}),
    "restore latest --check": ("postgres_backup_restore", {"backup": "latest"}),
    "restore latest --tables users --check": (
        "postgres_backup_restore",
        {"backup": "latest", "tables": ["users"]},
    ),
    "undo-restore --check": ("postgres_backup_undo_restore", {}),
    "verify latest --check": ("postgres_backup_verify", {}),
    "backup --check": ("postgres_backup_create", {}),
    "list": ("postgres_backup_info", {}),
    "status": ("postgres_backup_status", {}),
}


#: those of which a playbook does more
DIFFERENT = ("restore latest --check", "undo-restore --check")


def test_command_line_and_module_say_the_same(run_module, config, filled):
    """What the log ends with is not said a second time on standard output."""
    run_module("postgres_backup_create", config=config.path)
    run_module("postgres_backup_restore", config=config.path, backup="latest")
    for typed, (module, options) in SAME.items():
        lines = run_module(module, check=True, config=config.path, **options)["lines"]
        done = engine.run(config.path, *typed.split())
        assert done.returncode == 0, done.stderr
        logged = [line[len("2026-01-27T00:00:00Z ") :] for line in done.stderr.splitlines()]
        # but for the line that says how the command line differs from the playbook
        told = [line for line in done.stdout.splitlines() if line not in (ALONE, ALONE_BACK)]
        assert (len(told) < len(done.stdout.splitlines())) == (typed in DIFFERENT)
        shown = untimed(told)
        assert lines, typed
        assert untimed(lines) in (shown, untimed(logged[-1:]) + shown), typed


def test_the_log_ends_with_the_first_line_of_the_result(config, filled, tmp_path):
    (tmp_path / "compose.yml").write_text("services: {}\n")
    settings = config.change(BACKUP_PATHS=tmp_path / "compose.yml", KIT_PLAIN="true")

    def ends_with(said: list[str], heard: Recorder) -> None:
        assert list(heard.lines)[-1] == said[0]

    def job(check: bool = False) -> tuple[Job, Recorder]:
        heard = Recorder(Progress())
        return Job(settings, check=check, progress=heard), heard

    asked, heard = job()
    ends_with(backup.lines(backup.create_backup(asked)), heard)
    asked, heard = job()
    ends_with(verify.lines(verify.verify_backup(asked, "latest")), heard)
    asked, heard = job()
    ends_with(kit.lines(kit.create_kit(asked)), heard)
    for check in (True, False):
        asked, heard = job(check)
        ends_with(prune.lines(prune.prune_backups(asked), check), heard)
        asked, heard = job(check)
        found = tables.restore_tables(asked, "latest", ["users"])
        ends_with(tables.lines(found, check), heard)
    asked, heard = job()
    restored = database.restore_database(asked, "latest")
    ends_with(database.lines(restored), heard)
    assert database.lines(restored)[1] == "Undo: postgres-backup undo-restore"
    asked, heard = job()
    ends_with(database.undo_lines(database.undo_restore(asked)), heard)
    asked, heard = job()
    loaded = steps.perform_step(asked, stage="load", backup="latest")
    ends_with(steps.lines(loaded, "load"), heard)
    asked, heard = job()
    swapped = steps.perform_step(
        asked, stage="swap", backup="latest", side_database=loaded["side_database"]
    )
    ends_with(steps.lines(swapped, "swap"), heard)
    compared = steps.perform_step(asked, stage="compare", kept_database=swapped["kept_database"])
    assert steps.lines(compared, "compare") == [
        f"Every table has as many rows as in {swapped['kept_database']}."
    ]
