"""Slips of the pen, each with what it prints: none passes in silence, and nothing is touched.

Most ask the code that every playbook asks first; a dozen are typed for real.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.parsing.convert_bool import BOOLEANS
from ansible.parsing.splitter import parse_kv
from ansible.plugins.filter import core
from ansible.template import Templar, trust_as_template
from hypothesis import given
from hypothesis import strategies as st

from tests.playbooks.test_playbooks import ROOT, checkout, flat, play  # noqa: F401 - a fixture


def _plugin():
    place = ROOT / "roles/backup/action_plugins/backup_call.py"
    spec = importlib.util.spec_from_file_location("backup_call", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


typed = _plugin()
CALLS = yaml.safe_load((ROOT / "playbooks/vars/calls.yml").read_text())
#: variables of a host as Ansible has them, with a few of a user's own
HOST = {
    "inventory_hostname": "db1",
    "inventory_dir": "/x",
    "group_names": ["ungrouped"],
    "groups": {},
    "omit": "x",
    "playbook_dir": "/x",
    "ansible_connection": "local",
    "backup_db_name": "crm",
    "app_repo": "",
    "test": 1,
    "region": "eu",
    "host": "{{ site }}.example.com",
}


def judged(call: str, *options: str, host: dict | None = None):
    extra: dict = {}
    for option in options:
        extra |= json.loads(option) if option.startswith("{") else parse_kv(option)
    return typed.judge(call, options, extra, {"db1": HOST | (host or {})}, typed.known())


def mean(known: str) -> str:
    return f"did you mean {known}?"


def left(words: str) -> str:
    return f"this is left over: {words}."


def passed_over(name: str) -> str:
    return f"does not take {name}, it would be passed over"


BLANK, COMMA = "There may be no blank around =: ", "There may be no blank after a comma: "
GIVEN = [
    # names of a call
    ("restore", "table=users", mean("tables")),
    ("restore", "tabels=users", mean("tables")),
    ("restore", "Tables=users", mean("tables")),
    ("restore", "tabless=users", mean("tables")),
    ("restore", "tbles=users", mean("tables")),
    ("restore", "bakup=latest", mean("backup")),
    ("restore", "backups=latest", mean("backup")),
    ("restore", "Backup=latest", mean("backup")),
    ("restore", "backpu=latest", mean("backup")),
    ("restore", "databse=crm", mean("database")),
    ("restore", "datbase=crm", mean("database")),
    ("restore", "databases=crm", mean("database")),
    ("restore", "data_base=crm", mean("database")),
    ("restore", "trust-unsigned=true", mean("trust_unsigned")),
    ("restore", "trust_unsinged=true", mean("trust_unsigned")),
    ("restore", "trustunsigned=true", mean("trust_unsigned")),
    ("restore", "role_with_power=true", mean("roles_with_power")),
    ("restore", "file=latest", "There is no variable file (-e): restore.yml takes backup,"),
    ("restore", "db=crm", "There is no variable db (-e): restore.yml takes"),
    ("restore", "table_names=users", "There is no variable table_names (-e)"),
    ("restore", "from=yesterday", "from is one of copy (here: yesterday)"),
    ("restore", "from=pitr", "from is one of copy (here: pitr)"),
    ("rebuild", "from=yesterday", "from is one of copy, pitr (here: yesterday)"),
    ("backup", "table=", mean("tables")),
    ("backup", "schema-only=true", mean("schema_only")),
    ("backup", "schemaonly=true", mean("schema_only")),
    ("backup", "shcema_only=true", mean("schema_only")),
    ("drill", "fats=true", mean("fast")),
    ("drill", "failon=note", mean("fail_on")),
    (
        "drill",
        "full=true",
        "There is no variable full (-e): drill.yml takes backup, database, trust_unsigned",
    ),
    ("prune", "allow_mny=true", mean("allow_many")),
    ("prune", "allowmany=true", mean("allow_many")),
    ("undo_restore", "keep=crm_before_2026", mean("kept")),
    ("undo_restore", "databas=crm", mean("database")),
    ("report", "report-file=x.html", mean("report_file")),
    ("report", "pubish=true", mean("publish")),
    ("setup", "addopt=true", mean("adopt")),
    ("setup", "rotate_singing_key=true", mean("rotate_signing_key")),
    ("status", "verbose=1", "There is no variable verbose (-e): status.yml takes none"),
    # names of another call
    ("restore", "schema_only=true", passed_over("schema_only")),
    ("restore", "kept=x", passed_over("kept")),
    ("restore", "fast=true", "restore.yml passes fast over (-e): it is for drill.yml"),
    ("backup", "backup=latest", "backup.yml passes backup over (-e)"),
    ("backup", "kept=x", passed_over("kept")),
    ("undo_restore", "tables=users", passed_over("tables")),
    ("rebuild", "tables=users", passed_over("tables")),
    ("rebuild", "database=crm", passed_over("database")),
    ("drill", "tables=users", passed_over("tables")),
    ("setup", "trust_unsigned=true", "setup.yml passes trust_unsigned over (-e)"),
    ("prune", "adopt=true", "prune.yml passes adopt over (-e): it is for setup.yml"),
    # values
    ("restore", "tables=", "tables is empty (-e tables=): give it a value, or leave it out."),
    ("backup", "tables=", "tables is empty"),
    ("restore", "database=", "database is empty"),
    ("restore", "tables=users,,orders", "tables has an empty name in it (here: users,,orders)."),
    ("restore", "tables=users,", "tables has an empty name in it"),
    ("restore", "trust_unsigned=ture", "trust_unsigned is true or false (here: ture)."),
    ("restore", "trust_unsigned=t", "trust_unsigned is true or false (here: t)."),
    ("drill", "fast=y", "fast is true or false (here: y)."),
    ("setup", "adopt=n", "adopt is one of true, false, undo (here: n)."),
    ("restore", "roles_with_power=maybe", "roles_with_power is true or false"),
    ("backup", "schema_only=2", "schema_only is true or false (here: 2)."),
    ("drill", "fast=", "fast is empty"),
    ("setup", "adopt=all", "adopt is one of true, false, undo (here: all)."),
    ("restore", '{"backup": ["a", "b"]}', "backup is one word (here: ['a', 'b'])."),
    # what Ansible leaves over
    ("restore", "target_time=2026-01-27 14:03", left("14:03")),
    ("restore", "target_time=2026-01-27 14:03", "-e \"target_time='2026-01-27 14:03'\""),
    ("restore", "latest", left("latest") + " It has no name: -e NAME=latest"),
    ("restore", "backup = latest", BLANK + "-e backup=latest"),
    ("restore", "backup= latest", BLANK + "-e backup=latest"),
    ("restore", "backup =latest", BLANK + "-e backup=latest"),
    ("restore", "tables=users, orders", COMMA + "-e tables=users,orders"),
    ("backup", "tables=users, public.orders", COMMA + "-e tables=users,public.orders"),
    ("restore", "backup=latest please", left("please")),
    ("drill", "backup=latest fast", left("fast")),
    # settings, for one call
    ("setup", "backup_retention_day=3", mean("backup_retention_days")),
    ("setup", "backup-retention-days=3", mean("backup_retention_days")),
    ("restore", "backup_age_identity=key", "backup_age_identity"),
    ("restore", "backup_age_identityfile=key", mean("backup_age_identity_file")),
]
WRITTEN = [
    ("backup_retention_day", "backup_retention_days"),
    ("backup_retention", ""),
    ("backup_timezone", ""),
    ("backup_s3_buket", "backup_s3_bucket"),
    ("backup_s3_endpoint", ""),
    ("backup_s3_endpoint_ur", "backup_s3_endpoint_url"),
    ("backup_s3_acces_key", "backup_s3_access_key"),
    ("backup_s3_secretkey", "backup_s3_secret_key"),
    ("backup_db_pasword", "backup_db_password"),
    ("backup_db_passwrod", "backup_db_password"),
    ("backup_db_usr", "backup_db_user"),
    ("backup_database", "backup_databases"),
    ("backup_schedule_times", "backup_schedule_time"),
    ("bakcup_db_name", "backup_db_name"),
    ("back_up_db_host", "backup_db_host"),
    ("Backup_db_port", "backup_db_port"),
    ("backup_alert_url", "backup_alert_urls"),
    ("backup_keep_weeky", "backup_keep_weekly"),
    ("backup_path", "backup_paths"),
    ("backup_age_recipient", "backup_age_recipients"),
    ("app_db_servce", "app_db_service"),
    ("app_repos", "app_repo"),
    ("backup_app_dri", "backup_app_dir"),
    ("table", "tables"),
    ("databse", "database"),
]


@pytest.mark.parametrize(("call", "option", "said"), GIVEN)
def test_what_is_given_with_a_slip_is_refused_and_said_how_it_is_meant(call, option, said):
    found = judged(call, option)
    assert said in " ".join(found.refused + found.warned)
    passes = ("is none of our settings", " over (-e): it is for ")
    assert found.refused or any(words in found.warned[0] for words in passes)


VALUES = [
    ("backup_retention_days", "seven", "is a whole number, in digits (here: seven)"),
    ("backup_retention_days", "7 days", "is a whole number, in digits (here: 7 days)"),
    ("backup_retention_days", 7.5, "is a whole number, in digits (here: 7.5)"),
    ("backup_retention_days", True, "is a whole number, in digits (here: True)"),
    ("backup_db_port", "5432;", "is a whole number, in digits (here: 5432;)"),
    ("backup_db_port", "x" * 99, f"is a whole number, in digits (here: {'x' * 40}...)"),
    ("backup_price_gb_month", "0,02", "is a number, with a point (here: 0,02)"),
    ("backup_become", "ture", "is true or false (here: ture)"),
    ("backup_become", "f", "is true or false (here: f)"),
    ("backup_compression", "gzp", "is one of gzip, zstd (here: gzp)"),
    ("backup_format", "tar", "is one of plain, custom (here: tar)"),
    ("backup_db_sslmode", "on", "is one of disable, allow,"),
    ("backup_databases", "crm, shop", "is a list: [crm, shop]"),
    ("backup_paths", "/srv/crm/.env", "is a list: [/srv/crm/.env]"),
    ("backup_alert_urls", "tgram://token/1", "is a list: [...]"),
]


@pytest.mark.parametrize(("name", "value", "said"), VALUES)
def test_a_value_of_the_wrong_kind_is_one_sentence_wherever_it_stands(name, value, said):
    [told] = judged("status", host={name: value}).refused
    assert told.startswith(f"{name} {said}")
    assert told.endswith("(in the inventory or group_vars of db1).")
    [told] = judged("setup", json.dumps({name: value})).refused
    assert told.startswith(f"{name} {said}")
    assert told.endswith("(-e).")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backup_retention_days", "7"),
        ("backup_retention_days", 7.0),
        ("backup_retention_days", "{{ days }}"),
        ("backup_retention_days", None),
        ("backup_price_gb_month", ".02"),
        ("backup_price_gb_month", 1),
        ("backup_become", "No"),
        ("backup_become", 0),
        ("backup_compression", "{% if x %}gzip{% endif %}"),
        ("backup_db_password", "seven"),
    ],
)
def test_a_value_that_is_right_or_still_to_be_worked_out_is_taken(name, value):
    assert judged("status", host={name: value}).refused == []
    assert judged("setup", json.dumps({name: value})).refused == []


@pytest.mark.parametrize("version", ["2.14.3", "2.18.99", "2.9.0"])
def test_an_ansible_that_is_too_old_is_told_of_and_refuses_nothing(version):
    assert f"This is Ansible {version}; 2.19 is the oldest" in typed.old_ansible(version)
    assert "sh bootstrap.sh" in typed.old_ansible(version)


@pytest.mark.parametrize("version", ["2.19.0", "2.21.5", "2.22.0.dev0", "3.0.0b1"])
def test_of_a_newer_ansible_nothing_is_said(version):
    assert typed.old_ansible(version) == ""


def test_every_default_of_every_role_is_of_its_own_kind():
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            assert typed.wrong_setting(name, value, typed.known()) == ""


@pytest.mark.parametrize(("name", "known"), WRITTEN)
def test_a_setting_with_a_slip_is_refused_wherever_it_stands_and_others_are_told_of(name, known):
    found = judged("status", host={name: 1})
    if known:
        place = "in the inventory or group_vars of db1"
        assert found.refused == [f"There is no setting {name} ({place}): {mean(known)}"]
    else:
        assert found.refused == []
        place = "in the inventory or group_vars of db1"
        told = f"{name} ({place}) is none of our settings, and is passed over by all of them"
        assert found.warned == [told]


@pytest.mark.parametrize(
    ("call", "options"),
    [
        ("restore", ["backup=latest", "tables=users,public.orders", "trust_unsigned=yes"]),
        ("restore", ['{"backup": "latest", "database": "a b", "trust_unsigned": true}']),
        ("restore", ["backup=latest database=crm", "backup_age_identity_file='my key.txt'"]),
        ("backup", ["schema_only=true", '{"tables": ["a", "b"]}']),
        ("drill", ["fast=True", "fail_on=note", "ansible_become_password=x"]),
        ("status", ["backup_hosts=all", "backup_become=false"]),
        ("setup", ["site=north"]),  # the user's own inventory refers to it
    ],
)
def test_what_is_meant_is_taken_without_a_word(call, options):
    found = judged(call, *options)
    assert (found.refused, found.warned) == ([], [])


@given(st.sampled_from(sorted(typed.known().settings)), st.data())
def test_a_name_with_one_letter_too_few_or_two_swapped_is_always_found(name, data):
    place = data.draw(st.integers(0, len(name) - 2))
    dropped = name[:place] + name[place + 1 :]
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    assert typed.distance(dropped, name, 2) == 1
    assert typed.distance(swapped, name, 2) == (swapped != name)
    for slip in {dropped, swapped} - typed.known().settings - CALLS.keys():
        assert typed.nearest(slip, [name]) == name


def test_words_are_taken_for_true_and_false_as_the_plays_take_them():
    words = {word for word in BOOLEANS if isinstance(word, str)}
    assert {word for word in words if core.to_bool(word)} == typed.TRUE
    assert words > typed.FALSE


def test_letters_are_counted_as_a_reader_would():
    for one, other, slips in (("ab", "ab", 0), ("ab", "ba", 1), ("abc", "c", 2), ("", "ab", 2)):
        assert typed.distance(one, other, 2) == slips
    assert typed.distance("abcd", "wxyz", 2) == 3


def test_every_variable_of_a_call_is_listed_for_exactly_the_playbooks_that_read_it():
    """What a play reads and nobody has set: ``x | default(...)`` and ``x is defined``."""
    tasks = {"setup": ["roles/backup/tasks"], "rebuild": ["playbooks/tasks/rebuild"]}
    for verb in ("report", "restore", "undo", "drill"):
        tasks["undo_restore" if verb == "undo" else verb] = sorted(
            str(path.relative_to(ROOT)) for path in ROOT.glob(f"playbooks/tasks/{verb}_*.yml")
        )
    tasks["pitr_restore"] = ["roles/pitr/tasks/recover.yml", "playbooks/tasks/restore_tables.yml"]
    tasks["drill"] += ["playbooks/tasks/rehearse", *tasks["rebuild"]]
    reads: dict[str, set[str]] = {}
    asked = r"(?<![\w.'])([a-z][a-z_]+)(?: \| default\(| is defined|\b)"
    for playbook in sorted({one for it in CALLS.values() for one in it["playbooks"]}):
        texts = [(ROOT / f"playbooks/{playbook}.yml").read_text()]
        for place in tasks.get(playbook, []):
            files = [ROOT / place] if place.endswith(".yml") else (ROOT / place).rglob("*.yml")
            texts += [path.read_text() for path in files]
        if playbook == "adopt":  # it imports that one
            texts.append((ROOT / "playbooks/setup.yml").read_text())
            texts += [path.read_text() for path in (ROOT / tasks["setup"][0]).rglob("*.yml")]
        if "__backup_chosen" in texts[0]:
            texts.append((ROOT / "roles/backup/vars/main.yml").read_text())
        code = re.sub(r"(?m)^\s*#.*$", "", "\n".join(texts))
        templated = re.findall(r"{{.*?}}|^\s+(?:when|that):.*$", code, re.S | re.M)
        reads[playbook] = {name for text in templated for name in re.findall(asked, text)}
        # what is a word of Jinja too is asked for by a lookup
        reads[playbook] |= set(re.findall(r"builtin\.vars', '(\w+)'", code))
    for name, it in CALLS.items():
        assert {one for one in reads if name in reads[one]} >= set(it["playbooks"]), name
    optional = set()
    for path in [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/backup/*/*.yml")]:
        optional |= set(re.findall(r"(?<![\w.'])([a-z][a-z_]+) \| default\(", path.read_text()))
        optional |= set(re.findall(r"(?<![\w.'])([a-z][a-z_]+) is defined", path.read_text()))
    own = tuple(f"{path.name}_" for path in ROOT.glob("roles/*"))
    inner = {
        "rebuilt",
        "app_in_setup",
        "setup_call",
        "role_path",
        "client_version",
        "inventory_dir",
        "restored",
    }
    parts = ("report_", "restore_", "rehearsal_")
    bare = {name for name in optional if not name.startswith((*own, *parts))}
    assert bare - inner <= CALLS.keys() | {"ansible_limit"}


@pytest.mark.parametrize("word", [None, "undo", "UNDO", *sorted(typed.TRUE | typed.FALSE), "No"])
def test_each_word_that_is_taken_for_adopt_does_what_it_says(word):
    """``adopt`` is neither of two kinds: what is accepted, and what the play makes of it, are two
    lists that must not part.
    """
    assert word is None or judged("setup", f"adopt={word}").refused == []
    (setup,) = yaml.safe_load((ROOT / "playbooks/setup.yml").read_text())
    older = yaml.safe_load((ROOT / "playbooks/tasks/older_scripts.yml").read_text())
    asked = {task["name"]: task.get("when", "") for task in [*setup["pre_tasks"], *older]}
    asked = {name: when.split(" or ")[0] for name, when in asked.items()}  # one for adopt alone
    known = Templar(loader=None, variables={} if word is None else {"adopt": word})

    def holds(task: str) -> bool:
        return known.template(trust_as_template("{{ " + asked[task] + " }}"))

    undo = bool(word) and word.lower() == "undo"
    assert holds("Do what is asked for of older scripts") is undo
    assert holds("Back to the older scripts") is undo
    if not undo:  # then the play has ended
        looks = word is None or word.lower() in typed.TRUE
        assert holds("Look for older scripts") is looks


def test_every_playbook_asks_first_and_under_its_own_name():
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        if path.stem == "demo":  # make demo: nobody types its variables
            continue
        (only,) = yaml.safe_load(path.read_text())
        if path.stem == "adopt":  # all that setup.yml does, under its own name
            assert only["ansible.builtin.import_playbook"] == "setup.yml"
            assert only["vars"]["setup_call"] == "adopt"
            continue
        first = (only.get("pre_tasks") or only["tasks"])[0]
        role = {"name": "backup", "tasks_from": "typed", "rolespec_validate": False}
        assert first["ansible.builtin.import_role"] == role  # which would be a task for each host
        name = "{{ setup_call | default('setup') }}" if path.stem == "setup" else path.stem
        assert first["vars"] == {"backup_call": name}


@pytest.mark.parametrize(
    ("playbook", "options", "said"),
    [
        ("restore.yml", ["table=users", "backup=latest"], mean("tables")),
        ("playbooks/backup.yml", ["table="], mean("tables")),
        ("restore.yml", ["target_time=2026-01-27 14:03"], left("14:03")),
        ("playbooks/list.yml", ["databse=crm"], mean("database")),
        ("playbooks/prune.yml", ["allow-many=true"], mean("allow_many")),
        ("playbooks/undo_restore.yml", ["tables=users"], passed_over("tables")),
        ("playbooks/drill.yml", ["fast=ture"], "fast is true or false (here: ture)."),
    ],
)
def test_typed_for_real_nothing_is_touched(checkout, playbook, options, said):  # noqa: F811
    done = play(checkout, playbook, *[word for one in options for word in ("-e", one)])
    assert done.returncode == 2, done.stdout
    assert said in flat(done.stdout)
    assert "Nothing was touched." in flat(done.stdout)
    assert "ok=0 changed=0" in flat(done.stdout)


@pytest.mark.parametrize("place", ["group_vars/all.yml", "inventory/hosts.yml"])
def test_a_slip_in_a_file_is_refused_before_a_server_is_asked(checkout, place):  # noqa: F811
    file = checkout / place
    if place.startswith("group_vars"):
        file.write_text("backup_s3_buket: x\nbackup_timezone: Asia/Almaty\n")
    else:
        hosts = yaml.safe_load(file.read_text())
        hosts["all"]["hosts"]["db1"] |= {"backup_s3_buket": "x", "backup_timezone": "Asia/Almaty"}
        file.write_text(yaml.safe_dump(hosts))
    done = play(checkout, "playbooks/status.yml")
    assert done.returncode == 2
    assert mean("backup_s3_bucket") in flat(done.stdout)
    warned = "backup_timezone (in the inventory or group_vars of db1) is none of our settings"
    assert warned in flat(done.stdout)
    assert "is not installed" not in done.stdout


def test_a_file_of_variables_is_looked_at_too(checkout, tmp_path):  # noqa: F811
    Path(tmp_path / "more.yml").write_text("table: users\n")
    done = play(checkout, "restore.yml", "-e", f"@{tmp_path}/more.yml", "-e", "backup=latest")
    assert done.returncode == 2
    assert mean("tables") in flat(done.stdout)
