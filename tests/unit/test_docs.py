"""The documents say what the code says: their tables are made from it, and what is written by hand
names files, commands, variables, rooms and statuses that exist; links lead somewhere.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from datetime import datetime, timedelta, timezone

import pytest
import yaml

from docs import make_tables
from postgres_backup import errors, findings, settings
from postgres_backup.catalog import retention
from postgres_backup.health import alarms, archiving_metrics, metrics
from tests import documents
from tests.documents import ROOT
from tests.unit.catalog.stand_in import Night

PACKAGE = make_tables.PACKAGE
WITH_RUSSIAN = (*documents.DOCUMENTS, *documents.RUSSIAN.values())
LINKED = (*WITH_RUSSIAN, "tests/servers/README.md")


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_the_tables_are_what_the_code_says(document):
    text = documents.text_of(document)
    if make_tables.filled(text) != text:
        pytest.fail(f"{document} is out of date. Type: {make_tables.COMMAND}", pytrace=False)


def test_every_table_is_shown_once():
    shown = {
        document: make_tables.names_in(documents.text_of(document))
        for document in documents.DOCUMENTS
    }
    assert sorted(name for names in shown.values() for name in names) == sorted(
        make_tables.makers()
    )
    assert {document for document, names in shown.items() if names} == set(make_tables.WITH_TABLES)


def test_a_table_that_is_out_of_date_is_seen():
    text = documents.text_of("docs/reference.md")
    for change in (("| `7` |", "| `8` |"), ("`--allow-many`", "`--allow-most`")):
        assert text.replace(*change) != text
        assert make_tables.filled(text.replace(*change, 1)) == text
    with pytest.raises(KeyError):
        make_tables.filled("<!-- table: nobody makes it -->\n<!-- /table -->")


def test_the_defaults_of_the_roles_are_those_of_their_specifications():
    defaults = {}
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        if path.parts[-3] in make_tables.BETWEEN_ROLES:
            continue
        defaults |= yaml.safe_load(path.read_text()) or {}
    assert {
        name: option["default"]
        for name, option in make_tables.variables().items()
        if "default" in option
    } == defaults


def fields_by_name() -> dict[str, str]:
    """Name in the config -> field of the settings."""
    return {variable.name: field for field, (variable, _) in settings.variables().items()}


def test_every_variable_of_the_config_is_in_the_table():
    """The table has it beside the variable that it is made from; AWS_* are for stock tools."""
    shown = [name for names in make_tables.config_names().values() for name in names]
    stock = {"AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"}
    assert sorted(shown) == sorted({*fields_by_name(), "DB_NAME", "DB_NAMES", *stock})


def test_a_config_by_hand_has_the_same_defaults():
    """What docs/reference.md says under "The config file"."""
    text = documents.section("docs/reference.md", "The config file")
    needed = set(re.findall(r"`([A-Z0-9_]+)`", text.split("needs ")[1].split(". The others")[0]))
    fields = {field.name: field for field in dataclasses.fields(settings.Settings)}
    without = {
        name
        for name, field in fields_by_name().items()
        if fields[field].default is dataclasses.MISSING
    }
    assert needed - {"DB_NAMES"} == without
    for variable, names in make_tables.config_names().items():
        option = make_tables.variables()[variable]
        if variable == "backup_copy_to":  # whose names stand there by themselves
            assert option["default"] == {}
            continue
        if names[0] in without or names[0].startswith("DB_NAME") or "default" not in option:
            continue
        default, ours = option["default"], fields[fields_by_name()[names[0]]].default
        if isinstance(default, str):
            default = make_tables.until_found_out(default)
        assert ours == (tuple(default) if isinstance(default, list) else default), variable


def test_variables_in_examples_exist():
    known = {*make_tables.variables(), "ansible_host", "ansible_user"}
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
        <= make_tables.variables().keys()
    )


def test_commands_that_are_named_exist():
    """In prose and in blocks: the word behind ``postgres-backup``, and options behind a command."""
    commands = make_tables.commands()
    for document in documents.DOCUMENTS:
        text = documents.text_of(document)
        shown = re.findall(r"`postgres-backup ([a-z][a-z-]*)([^`\n]*)", text)
        shown += re.findall(r"^postgres-backup ([a-z][a-z-]*)(.*)$", text, re.MULTILINE)
        for name, rest in shown:
            assert name in commands, f"{document}: postgres-backup {name}"
            known = {
                option for action in commands[name]._actions for option in action.option_strings
            }
            assert set(re.findall(r"(?<= )--[a-z-]+", rest)) <= known, f"{document}: {name}{rest}"


def test_readme_names_every_playbook():
    text = documents.section("README.md", "Commands")
    playbooks = {
        str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.yml"), *ROOT.glob("playbooks/*.yml"))
    }
    assert set(re.findall(r"`((?:playbooks/)?[a-z_]+\.yml)`", text)) == playbooks


def test_extra_variables_of_the_playbooks():
    """What a playbook takes with -e is in the reference, and nothing else is."""
    rows = documents.table_rows(documents.section("docs/reference.md", "Variables of one call"))
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
            "triggers",
            "copy_as",
            "keep_days",
            "partial",
            "schema_only",
            "allow_many",
            "backup_hosts",
            "report_file",
            "publish",
            "trust_unsigned",
            "roles_with_power",
            "fast",
            "fail_on",
            "smaller",
            "rebuild",
            "mark",
        ):
            if re.search(rf"\b{name} (?:\| default\(|is defined)", text) or (
                name == "database" and "__backup_chosen" in text
            ):
                taken.setdefault(name, set()).add(path.stem)
        if "'from', default=''" in text:
            taken.setdefault("from", set()).add(path.stem)
    for name in ("backup", "from"):  # through the phases of a rebuild
        taken[name].add("rebuild")
    for name in ("trust_unsigned", "roles_with_power"):  # and of its rehearsal
        taken[name] |= {"rebuild", "drill"}
    for name in ("rotate_signing_key", "adopt", "import"):  # through the role
        taken[name] = {"setup", "adopt"}
    for name in ("target_time", "target_lsn", "target_name", "latest", "keep", "remove", "promote"):
        taken[name] = {"pitr_restore"}
    taken["target_time"].add("rebuild")
    taken["triggers"].add("pitr_restore")
    assert shown.keys() == taken.keys()
    for name, playbooks in taken.items():
        assert shown[name] == "all" or set(shown[name].split(", ")) == playbooks, name


def test_every_finding_is_raised_somewhere():
    """What is in the registry, and so in the documents, can happen."""
    sources = [*PACKAGE.rglob("*.py"), *ROOT.glob("library/*.py")]
    text = "".join(path.read_text() for path in sources if path.stem != "findings")
    for code in findings.CODES:
        # some are put together: ("private", "forbidden")
        pair = '",\\s*"'.join(code.lower().rsplit("_", 1))
        assert f'"{code}"' in text or re.search(f'"{pair}"', text), code


def test_every_alarm_and_every_metric():
    rows = documents.table_rows(
        documents.section("docs/monitoring.md", "Every alarm and what to do")
    )
    assert {row[0].strip("`") for row in rows if row[0].startswith("`")} == alarms.TITLES.keys()
    numbers = documents.table_rows(
        documents.section("docs/monitoring.md", "3. Numbers for Prometheus")
    )
    assert [row[0].strip("`") for row in numbers if row[0].startswith("`")] == [
        *metrics.METRICS,
        *archiving_metrics.METRICS,
    ]
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
    rows = documents.table_rows(documents.section("docs/reference.md", "Exit statuses"))
    assert {int(row[0]) for row in rows if row[0].isdigit()} == statuses


def test_every_folder_is_explained():
    """In the picture of the house, which is made from the folders; a folder that is gone is not."""
    assert make_tables.KNOWS.keys() == make_tables.rooms().keys()


def names_defined(room: str) -> set[str]:
    """What a room offers: its functions, classes and constants."""
    found: set[str] = set()
    for node in ast.parse((PACKAGE / f"{room}.py").read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_rooms_and_functions_that_are_named_exist(document):
    """`folder/room` and `folder/room.function` in backticks; the other direction, that every room
    is shown, is the picture's.
    """
    rooms = make_tables.rooms()
    folders, ground = (sorted(f for f, r in rooms.items() if bool(r) == full) for full in (1, 0))
    text = documents.prose(document)
    for folder, room, name in re.findall(rf"`({'|'.join(folders)})/(\w*)(?:\.(\w+))?`", text):
        assert not room or room in rooms[folder], f"{document}: {folder}/{room}"
        if name:
            assert name in names_defined(f"{folder}/{room}"), f"{document}: {folder}/{room}.{name}"
    for room, name in re.findall(rf"`({'|'.join(ground)})\.(\w+)`", text):
        assert name in names_defined(room), f"{document}: {room}.{name}"


def test_the_roads_name_what_does_the_work():
    """Of the folders of the way out and of the way back, each is met on its road."""
    out = documents.section("CONTRIBUTING.md", "The road of a backup")
    back = documents.section("CONTRIBUTING.md", "The road of a restore")
    for text, folders in (
        (out, "cli nightly backup health postgresql catalog stream s3 machine"),
        (back, "restore verify health postgresql catalog stream s3 nightly"),
    ):
        for folder in folders.split():
            assert f"`{folder}/" in text, folder


def test_a_word_of_the_glossary_is_used():
    others = "\n".join(
        documents.text_of(name) for name in documents.DOCUMENTS if name != "docs/glossary.md"
    ).lower()
    words = [
        word
        for row in documents.table_rows(documents.text_of("docs/glossary.md"))
        if row[0] not in ("word", "---")
        for word in row[0].split(", ")
    ]
    assert len(words) == len(set(words))
    for word in words:
        assert re.search(rf"\b{word.lower()}", others), word


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


@pytest.mark.parametrize("document", WITH_RUSSIAN)
def test_paths_that_are_named_exist(document):
    """A file of the checkout that stands in backticks is there; what a user or a tool makes is not
    expected.
    """
    made = (
        "group_vars/all",
        "inventory/hosts.yml",
        "inventory/keys",
        "inventory/host_vars",
        "roles/<",
        "library/postgres_backup_<",
        "tests/library/test_postgres_backup_<",
    )
    folders = "|".join(
        path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    for path in re.findall(rf"`((?:{folders})/[^` ]*)`", documents.prose(document)):
        assert path.startswith(made) or list(ROOT.glob(path.rstrip("/"))), f"{document}: {path}"


def test_the_example_of_the_retention():
    text = documents.section("docs/how-it-works.md", "Retention, with an example")
    rows = [row for row in documents.table_rows(text) if re.match(r"\w{3} \d\d-\d\d$", row[0])]
    assert len(rows) > 3
    now = datetime(2026, 2, 1, 0, 0, 30, tzinfo=timezone.utc)
    nights = [Night(now.replace(second=2) - timedelta(days=n)) for n in range(30)]
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
    letters = {
        **dict.fromkeys(documents.DOCUMENTS, r"[\x00-\x7f]"),
        **dict.fromkeys(documents.RUSSIAN.values(), r"[\x00-\x7f\u0410-\u044f\u0401\u0451«»—]"),
    }
    for document in WITH_RUSSIAN:
        text = documents.text_of(document)
        plain = text.replace(f"\n[{documents.IN_RUSSIAN}](", "\n[](", 1)
        assert not (odd := re.sub(letters[document], "", plain)), f"{document}: {odd}"
        assert "![" not in text
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), document
        assert all(block.language for block in documents.blocks(document)), document


def test_this_looks_at_every_document():
    assert {
        str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    } == set(WITH_RUSSIAN)
