"""What the roles write reads back as it was meant, and their specifications are what their defaults
say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from postgres_backup import settings
from postgres_backup.machine import config_file
from postgres_backup.machine.config_file import parse

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "defaults").is_dir())
#: what people, shells and generators put into passwords
NASTY = [
    "pa'ss",
    'pa"ss',
    "$HOME ${x} $(id)",
    "`id`",
    "back\\slash\\n \\",
    "two\nlines\n",
    "# no comment",
    "tab\tblank  ",
    "!history *? [a] ~ & | ; < > ( )",
    "Großzügig пароль 🔑",
    "'\"'\"'",
    "=a=b=",
    "-n",
]
#: variables of any text -> their names in the config; one for each nasty value
TEXTS = {
    "backup_db_password": "DB_PASSWORD",
    "backup_db_user": "DB_USER",
    "backup_db_name": "DB_NAME",
    "backup_db_host": "DB_HOST",
    "backup_db_container": "DB_CONTAINER",
    "backup_server_name": "SERVER_NAME",
    "backup_s3_access_key": "AWS_ACCESS_KEY_ID",
    "backup_s3_secret_key": "AWS_SECRET_ACCESS_KEY",
    "backup_s3_region": "AWS_DEFAULT_REGION",
    "backup_s3_prefix": "S3_PREFIX",
    "backup_ping_url": "PING_URL",
    "backup_state_dir": "STATE_DIR",
    "backup_metrics_file": "METRICS_FILE",
}
REQUIRED = {
    "backup_db_name": "crm",
    "backup_db_user": "crm",
    "backup_db_password": "secret",
    "backup_s3_endpoint_url": "https://object.pscloud.io",
    "backup_s3_bucket": "my-company-backups",
    "backup_s3_access_key": "AKIDEXAMPLE",
    "backup_s3_secret_key": "secret",
}


def play(folder: Path, tasks: list[dict], variables: dict, *options: str) -> str:
    """Run tasks on this machine as whoever runs the test; the output."""
    (folder / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    )
    (folder / "variables.json").write_text(
        json.dumps(
            variables | {"backup_become": False, "ansible_python_interpreter": sys.executable}
        )
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
    }
    environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    words = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        "db1,",
        "-c",
        "local",
        "play.yml",
        "-e",
        "@variables.json",
        *options,
    ]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def write_config(folder: Path, *options: str, **variables: object) -> tuple[Path, str]:
    """The config as the role writes it, and what Ansible said meanwhile."""
    path = folder / "etc" / "backup-config.env"
    task = {"ansible.builtin.import_role": {"name": "backup", "tasks_from": "config"}}
    return path, play(
        folder, [task], REQUIRED | {"backup_config_file": str(path)} | variables, *options
    )


def rendered(folder: Path, *wanted: tuple[str, dict]) -> list[str]:
    """Templates of the role ``backup`` with the role's defaults and these variables, rendered by
    Ansible.
    """
    tasks: list[dict] = [
        {"ansible.builtin.import_role": {"name": "backup", "tasks_from": "config"}, "when": False}
    ]
    for number, (template, variables) in enumerate(wanted):
        source, target = (
            str(ROOT / "roles" / "backup" / "templates" / template),
            str(folder / str(number)),
        )
        tasks.append(
            {
                "ansible.builtin.template": {"src": source, "dest": target, "mode": "0600"},
                "vars": variables,
            }
        )
    play(folder, tasks, REQUIRED)
    return [(folder / str(number)).read_text() for number in range(len(wanted))]


def shell_reads(path: Path, names: list[str], shell: str) -> dict[str, str]:
    """What a shell has after sourcing the file, in an empty environment."""
    script = f'. "$1"; for name in {" ".join(names)}; do '
    script += 'eval "value=\\$$name"; printf "%s=%s\\0" "$name" "$value"; done'
    done = subprocess.run(
        [shell, "-euc", script, shell, path], env={}, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_nasty_values_read_back_the_same_by_shells_and_by_the_program(tmp_path):
    given = dict(zip(TEXTS, NASTY, strict=True))
    path, _ = write_config(tmp_path, **given)
    expected = {variable: given[name] for name, variable in TEXTS.items()}
    read = parse(path.read_text())
    assert {name: read[name] for name in expected} == expected
    shells = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
    assert shells
    for shell in shells:
        assert shell_reads(path, list(expected), shell) == expected


def test_the_config_becomes_settings_and_a_second_run_changes_nothing(tmp_path):
    several = {
        "backup_databases": ["crm", "my shop"],
        "backup_retention_days": "30",
        "backup_restore_in_place": "yes",
    }
    several |= {
        "backup_age_recipients": ["age1a", "age1b"],
        "backup_paths": ["/srv/app/.env", "/srv/up loads"],
    }
    path, _ = write_config(tmp_path, **several)
    assert path.stat().st_mode & 0o777 == 0o600
    found = config_file.load(str(path))
    assert (found.databases, found.retention_days, found.restore_in_place) == (
        ("crm", "my shop"),
        30,
        True,
    )
    assert (found.age_recipients, found.paths) == (
        ("age1a", "age1b"),
        ("/srv/app/.env", "/srv/up loads"),
    )
    assert (found.db_password, found.s3_secret_key, found.server_name) == (
        "secret",
        "secret",
        "db1",
    )
    _, said = write_config(tmp_path, **several)
    assert "changed=0" in said


def test_the_defaults_of_role_and_program_are_the_same(tmp_path):
    path, _ = write_config(tmp_path)
    values = parse(path.read_text())
    found = config_file.load(str(path))
    bare = config_file.from_values(
        {name: values[name] for name in config_file._REQUIRED} | {"DB_PASSWORD": "secret"}
    )
    assert found == bare
    known = {variable.name for variable, _ in settings.variables().values()}
    assert known <= set(values)  # every setting can be given by a variable


def test_no_secret_is_shown_not_even_by_a_diff(tmp_path):
    secret = "hunter2-hunter2"
    urls = {"backup_alert_urls": [f"tgram://{secret}"], "backup_ping_url": f"https://ping/{secret}"}
    _, said = write_config(
        tmp_path, "--diff", "-vvv", backup_db_password=secret, backup_s3_secret_key=secret, **urls
    )
    assert secret not in said
    _, said = write_config(
        tmp_path,
        "--diff",
        "--check",
        "-vvv",
        backup_db_password=secret + "changed",
        backup_s3_secret_key=secret,
        **urls,
    )
    assert secret not in said
    assert "changed=1" in said


def test_the_schedule_calls_every_quarter_so_that_utc_can_be_met_in_every_zone(tmp_path):
    expected = {"00:00": "0,15,30,45", "03:07": "7,22,37,52", "23:59": "14,29,44,59"}
    files = rendered(tmp_path, *(("cron.j2", {"backup_schedule_time": time}) for time in expected))
    for (time, minutes), text in zip(expected.items(), files, strict=True):
        assert text.endswith("\n")  # cron ignores a file whose last line has no end
        night, hourly = [line for line in text.splitlines() if not line.startswith("#")]
        called = "* * * * postgres-backup /usr/local/bin/postgres-backup"
        rest = "--journald --config /etc/postgres-backup/backup-config.env"
        rest += " >> /var/log/postgres-backup.log 2>&1"
        assert night == f"{minutes} {called} run --at {time} {rest}"
        # after the quarter of an hour in which the run is due, and within the hour
        assert hourly == f"{(int(time[3:]) + 55) % 60} {called} watch {rest}"


def test_the_timer_that_does_not_depend_on_cron(tmp_path):
    timer, service = rendered(
        tmp_path, ("watch.timer.j2", {"backup_schedule_time": "03:50"}), ("watch.service.j2", {})
    )
    assert "OnCalendar=*-*-* *:15:00 UTC" in timer
    assert "OnBootSec=" in timer
    words = "watch --journald --config /etc/postgres-backup/backup-config.env"
    assert f"ExecStart=/usr/local/bin/postgres-backup {words}" in service
    assert "User=postgres-backup" in service


def test_the_same_sources_make_the_same_program_and_it_runs_with_nothing_in_the_environment(
    tmp_path,
):
    builder = ROOT / "roles" / "backup" / "files" / "build_program.py"
    copy = tmp_path / "elsewhere"
    shutil.copytree(
        ROOT / "module_utils" / "postgres_backup",
        copy,
        ignore=shutil.ignore_patterns("__pycache__"),
        copy_function=shutil.copyfile,
    )
    (copy / "notes.txt").write_text("not a source")
    for source, target in (
        (ROOT / "module_utils" / "postgres_backup", "one.pyz"),
        (copy, "two.pyz"),
    ):
        subprocess.run([sys.executable, builder, source, tmp_path / target], check=True)
    assert (tmp_path / "one.pyz").read_bytes() == (tmp_path / "two.pyz").read_bytes()
    done = subprocess.run(
        [sys.executable, tmp_path / "one.pyz", "--help"],
        env={},
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: postgres-backup ")
    (copy / "clock.py").write_text((copy / "clock.py").read_text() + "\n")
    subprocess.run([sys.executable, builder, copy, tmp_path / "two.pyz"], check=True)
    assert (tmp_path / "one.pyz").read_bytes() != (tmp_path / "two.pyz").read_bytes()


def read(role: str, *parts: str) -> dict:
    path = ROOT.joinpath("roles", role, *parts)
    return yaml.safe_load(path.read_text()) or {}


@pytest.mark.parametrize("role", ROLES)
def test_the_specification_of_a_role_is_what_its_defaults_say(role):
    options = read(role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {
        name: option["default"] for name, option in options.items() if "default" in option
    } == read(role, "defaults", "main.yml")
    for name, option in options.items():
        assert option["description"], name
        assert option["type"], name


def called() -> set[tuple[str, str]]:
    """The roles and entry points that playbooks and other roles call."""
    found = set()
    for path in [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")]:
        for call in re.findall(
            r"(?:import|include)_role:\n +name: (\w+)(?:\n +tasks_from: (\w+))?|- role: (\w+)",
            path.read_text(),
        ):
            found.add((call[0] or call[2], call[1] or "main"))
    return found


def uses(role: str, entry: str, variables: set[str]) -> set[str]:
    """Those of the variables that an entry point reads, in its task files, templates and
    handlers, and by way of the role's other variables.
    """
    folder = ROOT / "roles" / role
    files, todo, text = set(), [folder / "tasks" / f"{entry}.yml"], ""
    while todo:
        path = todo.pop()
        if path in files:
            continue
        files.add(path)
        here = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
        text += here
        todo += [
            folder / "tasks" / name
            for name in re.findall(r"builtin\.(?:import|include)_tasks: (\S+)", here)
        ]
        for name in re.findall(r'src: "?(.+\.j2)', here):
            todo += (folder / "templates").glob(re.sub(r"{{.*?}}", "*", name))
        if "notify:" in here:
            todo.append(folder / "handlers" / "main.yml")
    made = read(role, "defaults", "main.yml")
    if (folder / "vars").is_dir():
        made |= read(role, "vars", "main.yml")
    found: set[str] = set()
    words = set(re.findall(r"\w+", text))
    while new := words & (variables | made.keys()) - found:
        found |= new
        words = {word for name in new & made.keys() for word in re.findall(r"\w+", str(made[name]))}
    return found & variables


@pytest.mark.parametrize(("role", "entry"), sorted(called()))
def test_the_specification_of_an_entry_point_is_what_it_reads(role, entry):
    points = read(role, "meta", "argument_specs.yml")["argument_specs"]
    everything = points["main"]["options"]
    options = points[entry].get("options", {})
    assert points[entry]["short_description"]
    for name in options.keys() & everything.keys():
        assert options[name] == everything[name], name
    known = {name for point in points.values() for name in point.get("options", {})}
    read_here = uses(role, entry, known)
    if entry == "main" or options == everything:
        assert read_here <= options.keys()
    else:
        assert read_here == options.keys()


def test_no_entry_point_is_specified_that_nobody_calls():
    for role in ROLES:
        specified = set(read(role, "meta", "argument_specs.yml")["argument_specs"]) - {"main"}
        assert specified == {entry for name, entry in called() if name == role} - {"main"}


def test_what_must_be_set_is_what_has_no_default():
    options = read("backup", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    asked_for = set(read("backup", "vars", "main.yml")["__backup_required"])
    assert (
        {name for name, option in options.items() if "default" not in option}
        == asked_for
        == set(REQUIRED)
    )


def test_the_example_names_every_variable_that_a_user_may_set():
    text = (ROOT / "group_vars" / "all.example.yml").read_text()
    inner = {
        "backup_program_dir",
        "backup_python",
        "backup_command",
        "backup_config_file",
        "backup_log_file",
        "backup_state_dir",
    }
    inner |= {"backup_become"}
    inner |= {
        "app_python",
        "docker_repository_key",
        "postgres_server_major",
        "postgres_server_locales",
    }
    inner |= {
        "backup_age_identities",
        "aws_cli_dir",
        "aws_cli_command",
        "postgres_client_repository_key",
        "postgres_client_repository_suite",
    }
    known = set()
    for role in set(ROLES) - {"packages"}:  # which other roles set
        known |= set(read(role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"])
    named = set(
        re.findall(
            r"\b(?:backup|bucket|postgres_client|postgres_server|aws_cli|app|docker)_\w+", text
        )
    )
    assert known - inner <= named
    assert set(yaml.safe_load(text)) <= known
