"""The documents say what the code does: every variable with its true default, every option, file,
finding and status; links lead somewhere.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml

from postgres_backup import errors, settings
from postgres_backup.catalog import retention
from postgres_backup.cli import commands as program
from postgres_backup.cli.parser import build
from postgres_backup.health import alarms, metrics
from tests import documents
from tests.documents import ROOT

PACKAGE = ROOT / "module_utils/postgres_backup"
LINKED = (*documents.DOCUMENTS, "tests/servers/README.md")


def role_options() -> dict[str, dict]:
    """Every variable that a user may set, with its specification.

    The main entry point of a role has them all; the role ``packages`` is set by other roles.
    """
    found = {}
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        if path.parts[-3] != "packages":
            found |= yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    return found


def documented(document: str) -> dict[str, str]:
    """Variable -> default, as the table of a document has it."""
    rows = documents.table_rows(documents.section(document, "Variables"))
    return {row[0].strip("`"): row[1] for row in rows if re.fullmatch(r"`[a-z0-9_]+`", row[0])}


@pytest.mark.parametrize("document", ["README.md", "docs/reference.md"])
def test_every_variable_is_there_with_its_true_default(document):
    options, table = role_options(), documented(document)
    assert sorted(table) == sorted(options)
    for name, option in options.items():
        shown = table[name]
        if shown == "must be set":
            assert "default" not in option, name
        elif shown == "from that file":
            assert "backup_age_identity_file" in option["default"]
        elif shown == "empty":
            assert option.get("default") == "", name
        else:
            assert shown.startswith("`"), f"{name}: {shown}"
            text = shown.strip("`")
            assert (text if text.startswith("{{") else yaml.safe_load(text)) == option.get(
                "default"
            ), name


def test_the_defaults_of_the_roles_are_those_of_their_specifications():
    defaults = {}
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        if path.parts[-3] != "packages":
            defaults |= yaml.safe_load(path.read_text()) or {}
    assert {
        name: option["default"] for name, option in role_options().items() if "default" in option
    } == defaults


def test_the_variable_that_each_becomes():
    template = (ROOT / "roles/backup/templates/backup-config.env.j2").read_text()
    written = {
        match[1]: match[2]
        for match in re.finditer(r"^(?:export )?([A-Z0-9_]+)=(.*)$", template, re.MULTILINE)
    }
    for row in documents.table_rows(documents.section("docs/reference.md", "Variables")):
        for variable in re.findall(r"`([A-Z0-9_]+)`", row[2]) if len(row) == 4 else []:
            assert row[0].strip("`") in written[variable]


def test_every_variable_of_the_config():
    rows = documents.table_rows(documents.section("docs/reference.md", "The config file"))
    shown = {row[0].strip("`") for row in rows if row[0].startswith("`")}
    by_variable = {variable.name: field for field, (variable, _) in settings.variables().items()}
    assert shown == {*by_variable, "DB_NAMES"}
    fields = {field.name: field.default for field in dataclasses.fields(settings.Settings)}
    for row in rows:
        if found := re.search(r"default `?([^`,; ]+)`?", row[1]):
            assert found[1] == str(fields[by_variable[row[0].strip("`")]]), row[0]


def test_variables_in_examples_exist():
    known = {*role_options(), "ansible_host", "ansible_user"}
    for document in documents.DOCUMENTS:
        for block in documents.blocks(document):
            if block.language != "yaml":
                continue
            found = yaml.safe_load(block.text)
            names = next(iter(found["all"]["hosts"].values())) if "all" in found else found
            assert names.keys() <= known, block.where


def test_examples_of_the_variables_are_all_in_the_reference():
    example = (ROOT / "group_vars/all.example.yml").read_text()
    assert (
        set(
            re.findall(
                r"^(?:#   )?((?:backup|bucket|postgres_client|aws_cli)_\w+)", example, re.MULTILINE
            )
        )
        <= role_options().keys()
    )


def commands() -> dict[str, argparse.ArgumentParser]:
    """The subcommands of the command line."""
    return next(
        action.choices
        for action in build(program.COMMANDS.values())._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def test_every_command_and_every_option_of_it():
    rows = {}
    for row in documents.table_rows(documents.section("docs/reference.md", "Commands")):
        if found := re.match(r"`([a-z-]+)[ `]", row[0]):
            rows[found[1]] = row
    assert rows.keys() == commands().keys()
    common = {"--help", "--config", "--json", "--log-format", "--journald"}
    for name, parser in commands().items():
        options = {action.option_strings[-1] for action in parser._actions if action.option_strings}
        assert set(re.findall(r"--[a-z-]+", rows[name][1])) == options - common, name
        for action in parser._actions:
            if not action.option_strings:
                assert action.metavar in rows[name][0], name


def test_readme_names_every_command_and_playbook():
    text = documents.section("README.md", "Commands")
    assert set(re.findall(r"\| `postgres-backup ([a-z-]+)", text)) == commands().keys()
    playbooks = {
        str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.yml"), *ROOT.glob("playbooks/*.yml"))
    }
    assert {name for name in playbooks if f"`{name}`" in text} == playbooks
    assert set(re.findall(r"`((?:playbooks/)?[a-z_]+\.yml)`", text)) == playbooks


def test_extra_variables_of_the_playbooks():
    """What a playbook takes with -e is in the reference, and nothing else is."""
    rows = documents.table_rows(documents.section("docs/reference.md", "Variables"))
    shown = {re.match(r"`(\w+)=", row[0])[1]: row[1] for row in rows if re.match(r"`\w+=", row[0])}
    taken: dict[str, set[str]] = {}
    for path in ROOT.glob("playbooks/*.yml"):
        text = path.read_text()
        for tasks in re.findall(r"(tasks/\w+\.yml)", text):
            text += (ROOT / "playbooks" / tasks).read_text()
        for name in (
            "backup",
            "database",
            "kept",
            "tables",
            "schema_only",
            "allow_many",
            "backup_hosts",
            "report_file",
            "publish",
        ):
            if re.search(rf"\b{name} (?:\| default\(|is defined)", text) or (
                name == "database" and "__backup_chosen" in text
            ):
                taken.setdefault(name, set()).add(path.stem)
    taken["backup"].add("rebuild")  # through the phases of a rebuild
    assert shown.keys() == taken.keys()
    for name, playbooks in taken.items():
        assert shown[name] == "all" or set(shown[name].split(", ")) == playbooks, name


def test_every_module():
    rows = documents.table_rows(documents.section("docs/reference.md", "Modules"))
    assert {row[0].strip("`") for row in rows if row[0].startswith("`")} == {
        path.stem for path in ROOT.glob("library/*.py")
    }


def findings() -> tuple[set[str], set[str]]:
    """The names of the findings in the code: those that surely are, and every string that looks
    like one.
    """
    sure, like = set(), set()
    for path in (*PACKAGE.rglob("*.py"), *ROOT.glob("library/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            values: list[ast.expr] = []
            if isinstance(node, ast.Dict):
                values = [
                    value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "code"
                ]
            elif isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                values = [node.args[0]] if name in ("_problem", "_refusal", "_bad") else []
            elif isinstance(node, ast.Assign) and "code" in {
                name.id for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)
            }:
                values = list(ast.walk(node.value))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                like.add(node.value)
            sure |= {
                v.value
                for v in values
                if isinstance(v, ast.Constant)
                and isinstance(v.value, str)
                and re.fullmatch(r"[A-Z]+(_[A-Z]+)*", v.value)
            }
    module = ast.parse((ROOT / "library/postgres_backup_bucket.py").read_text())
    table = next(
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "FINDINGS"
    )
    sure |= {"_".join(key).upper() for key in ast.literal_eval(table)}
    return sure, sure | like


def test_every_finding():
    rows = documents.table_rows(documents.section("docs/reference.md", "Messages"))
    shown = {name for row in rows for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", row[0])}
    sure, like = findings()
    assert sorted(sure - shown) == []
    assert sorted(shown - like) == []


def test_every_alarm_and_every_metric():
    rows = documents.table_rows(
        documents.section("docs/monitoring.md", "Every alarm and what to do")
    )
    assert {row[0].strip("`") for row in rows if row[0].startswith("`")} == alarms.TITLES.keys()
    numbers = documents.table_rows(
        documents.section("docs/monitoring.md", "3. Numbers for Prometheus")
    )
    assert [row[0].strip("`") for row in numbers if row[0].startswith("`")] == list(metrics.METRICS)
    rules = yaml.safe_load((ROOT / "docs/monitoring/postgres-backup-rules.yml").read_text())[
        "groups"
    ][0]["rules"]
    shown = documents.table_rows(documents.section("docs/monitoring.md", "4. Alert rules"))
    assert {row[0].strip("`"): row[1] for row in shown if row[0].startswith("`")} == {
        rule["alert"]: rule["labels"]["severity"] for rule in rules
    }


def test_every_exit_status():
    statuses = {0} | {
        c.exit_status
        for _, c in inspect.getmembers(errors, inspect.isclass)
        if issubclass(c, errors.PostgresBackupError)
    }
    for document, heading in (
        ("README.md", "Exit statuses and messages"),
        ("docs/reference.md", "Exit statuses"),
    ):
        rows = documents.table_rows(documents.section(document, heading))
        assert {int(row[0]) for row in rows if row[0].isdigit()} == statuses


def test_the_rooms_of_the_package_that_contributors_are_told_exist():
    table = documents.section("CONTRIBUTING.md", "The house")
    rooms = {
        room
        for row in documents.table_rows(table)[2:]
        for room in re.findall(r"`([a-z_]+)`", row[1])
    }
    assert rooms - {path.stem for path in PACKAGE.rglob("*.py")} == set()


@pytest.mark.parametrize("document", LINKED)
def test_links_lead_somewhere(document):
    for link in documents.links(document):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document}: {link}"
        if anchor:
            name = str(target.resolve().relative_to(ROOT))
            assert anchor in documents.anchors(name), f"{document}: {link}"


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_paths_that_are_named_exist(document):
    """A file of the checkout that stands in backticks is there; what a user or a tool makes is not
    expected.
    """
    made = (
        "group_vars/all",
        "inventory/hosts.yml",
        "roles/<",
        "library/postgres_backup_<",
        "tests/library/test_postgres_backup_<",
    )
    folders = "|".join(
        path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    for path in re.findall(rf"`((?:{folders})/[^` ]*)`", documents.prose(document)):
        assert path.startswith(made) or list(ROOT.glob(path.rstrip("/"))), f"{document}: {path}"


@dataclasses.dataclass(frozen=True)
class Nightly:
    taken_at: datetime
    ours: bool = True
    good: bool = True
    proven: bool = False
    waits_for_adoption: bool = False


def test_the_example_of_the_retention():
    text = documents.section("docs/how-it-works.md", "Retention, with an example")
    rows = [row for row in documents.table_rows(text) if re.match(r"\w{3} \d\d-\d\d$", row[0])]
    assert len(rows) > 3
    now = datetime(2026, 2, 1, 0, 0, 30, tzinfo=timezone.utc)
    nights = [Nightly(now.replace(second=2) - timedelta(days=n)) for n in range(30)]
    decisions = {
        d.backup.taken_at.strftime("%a %m-%d"): d
        for d in retention.plan(nights, retention.Policy(days=3, weekly=2, allow_many=True), now)
    }
    for day, verdict, *_ in rows:
        decision = decisions[day]
        word, _, reason = verdict.partition(": ")
        assert word == ("stays" if decision.keep else "goes"), day
        assert reason.startswith(decision.reason) or not reason, day


def test_documents_are_plain():
    """No badges, no emoji, no trailing blanks; every fence says what it holds."""
    for document in documents.DOCUMENTS:
        text = documents.text_of(document)
        assert text.isascii(), f"{document}: {[c for c in text if not c.isascii()]}"
        assert "![" not in text
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), document
        assert all(block.language for block in documents.blocks(document)), document


def test_this_looks_at_every_document():
    assert {
        str(path.relative_to(ROOT))
        for path in (*ROOT.glob("*.md"), *Path(ROOT / "docs").glob("*.md"))
    } == set(documents.DOCUMENTS)
