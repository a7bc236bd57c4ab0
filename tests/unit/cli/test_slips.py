"""Slips of the pen on the command line, each with all that it prints."""

from __future__ import annotations

import pytest

from postgres_backup.cli import slips
from postgres_backup.errors import UsageError
from tests.unit.cli.whole import command_line

BEGIN = "Failed to understand the command: "


def help_of(command: str = "") -> str:
    return f"postgres-backup {command}".rstrip() + " --help shows what there is"


def did(meant: str, command: str = "") -> str:
    return f"Did you mean {meant}? {help_of(command)}"


def database(name: str, command: str) -> str:
    return f"A database is named by --database {name}. {help_of(command)}"


FOR_ANSIBLE = "-e backup=latest is for ansible-playbook"
NO_COMMAND = "there is no command "
TYPED = [
    # commands
    ("restor latest", f"{NO_COMMAND}'restor'", did("restore")),
    ("retsore latest", f"{NO_COMMAND}'retsore'", did("restore")),
    ("restores latest", f"{NO_COMMAND}'restores'", did("restore")),
    ("Backup", f"{NO_COMMAND}'Backup'", did("backup")),
    ("bakcup", f"{NO_COMMAND}'bakcup'", did("backup")),
    ("back-up", f"{NO_COMMAND}'back-up'", did("backup")),
    ("backups", f"{NO_COMMAND}'backups'", did("backup")),
    ("lsit", f"{NO_COMMAND}'lsit'", did("list")),
    ("lists", f"{NO_COMMAND}'lists'", did("list")),
    ("ls", f"{NO_COMMAND}'ls'", did("list")),
    ("stats", f"{NO_COMMAND}'stats'", did("status")),
    ("Status", f"{NO_COMMAND}'Status'", did("status")),
    ("undo", f"{NO_COMMAND}'undo'", did("undo-restore")),
    ("undo_restore", f"{NO_COMMAND}'undo_restore'", did("undo-restore")),
    ("undorestore", f"{NO_COMMAND}'undorestore'", did("undo-restore")),
    ("restore_kit", f"{NO_COMMAND}'restore_kit'", did("restore-kit")),
    ("alert", f"{NO_COMMAND}'alert'", did("alert-test")),
    ("alert_test", f"{NO_COMMAND}'alert_test'", did("alert-test")),
    ("verfy latest", f"{NO_COMMAND}'verfy'", did("verify")),
    ("check", f"{NO_COMMAND}'check'", did("verify")),
    ("histroy", f"{NO_COMMAND}'histroy'", did("history")),
    ("logs", f"{NO_COMMAND}'logs'", did("history")),
    ("dump", f"{NO_COMMAND}'dump'", did("backup")),
    ("expire", f"{NO_COMMAND}'expire'", did("prune")),
    ("dril", f"{NO_COMMAND}'dril'", did("drill")),
    ("adpot", f"{NO_COMMAND}'adpot'", did("adopt")),
    ("help", f"{NO_COMMAND}'help'", help_of()),
    ("version", f"{NO_COMMAND}'version'", f"Type postgres-backup --version. {help_of()}"),
    ("xyz", f"{NO_COMMAND}'xyz'", help_of()),
    ("", "no command was given", f"Such as postgres-backup status. {help_of()}"),
    ("--json", "no command was given", f"Such as postgres-backup status. {help_of()}"),
    (
        "backup=latest",
        f"{NO_COMMAND}'backup=latest'",
        f"{FOR_ANSIBLE}; here it is postgres-backup restore latest, or --backup behind a command. "
        + help_of(),
    ),
    # options
    ("restore latest --tabels users", "restore takes no --tabels", did("--tables A,B", "restore")),
    ("restore latest --Tables users", "restore takes no --Tables", did("--tables A,B", "restore")),
    ("restore latest --dry-run", "restore takes no --dry-run", did("--check", "restore")),
    ("restore latest -check", "restore takes no -check", did("--check", "restore")),
    ("restore latest --chekc", "restore takes no --chekc", did("--check", "restore")),
    ("restore latest --inplace", "restore takes no --inplace", did("--in-place", "restore")),
    (
        "restore latest --trust_unsigned",
        "restore takes no --trust_unsigned",
        did("--trust-unsigned", "restore"),
    ),
    (
        "restore latest --identiy key",
        "restore takes no --identiy",
        did("--identity FILE", "restore"),
    ),
    ("restore latest --force", "restore takes no --force", help_of("restore")),
    (
        "restore latest -e tables=users",
        "restore takes no -e",
        f"That is for ansible-playbook. {help_of('restore')}",
    ),
    ("list --databse crm", "list takes no --databse", did("--database NAME", "list")),
    ("list --db crm", "list takes no --db", did("--database NAME", "list")),
    ("list --confg x", "list takes no --confg", did("--config FILE", "list")),
    ("prune --allow_many", "prune takes no --allow_many", did("--allow-many", "prune")),
    ("status --jsn", "status takes no --jsn", did("--json", "status")),
    ("drill --fats", "drill takes no --fats", did("--fast", "drill")),
    ("adopt --yess", "adopt takes no --yess", did("--yes", "adopt")),
    ("backup --schema_only", "backup takes no --schema_only", did("--schema-only", "backup")),
    ("backup --now", "backup takes no --now", help_of("backup")),
    # values
    ("restore", "restore lacks FILE", f"postgres-backup restore FILE. {help_of('restore')}"),
    ("verify", "verify lacks FILE", f"postgres-backup verify FILE. {help_of('verify')}"),
    ("restore latest --as", "--as lacks its value", f"--as NAME. {help_of('restore')}"),
    ("run --at", "--at lacks its value", f"--at HH:MM. {help_of('run')}"),
    ("--config", "--config lacks its value", f"--config FILE. {help_of()}"),
    (
        "restore latest --triggers yes",
        "--triggers is off or on, not 'yes'",
        help_of("restore"),
    ),
    (
        "restore latest --check=yes",
        "--check takes no value, such as 'yes'",
        help_of("restore"),
    ),
    ("backup crm", "backup does not take 'crm'", database("crm", "backup")),
    ("list crm", "list does not take 'crm'", database("crm", "list")),
    ("restore latest crm", "restore does not take 'crm'", database("crm", "restore")),
    ("kit latest", "kit does not take 'latest'", help_of("kit")),
]


@pytest.mark.parametrize(("typed", "cause", "hint"), TYPED)
def test_a_slip_is_told_with_what_is_meant(typed, cause, hint):
    with pytest.raises(UsageError) as caught:
        command_line().understand(typed.split())
    assert (caught.value.message, caught.value.hint) == (f"{BEGIN}{cause}", hint)


@pytest.mark.parametrize(
    "typed", ["restore latest --table users", "backup", "--json list", "status --json"]
)
def test_what_is_meant_is_taken(typed):
    assert command_line().understand(typed.split()).command in typed


def test_words_of_argparse_that_are_not_known_stay():
    words = "argument --deep: something new"
    assert slips.told(words, "dig", {}) == (words, "dig --help shows what there is")
