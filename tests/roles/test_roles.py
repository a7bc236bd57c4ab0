"""What the roles write reads back as it was meant, and their specifications are what their defaults
say.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from postgres_backup import settings
from postgres_backup.drill import queries
from postgres_backup.machine import config_file
from postgres_backup.machine.config_file import parse
from postgres_backup.signing import keyring, signers
from postgres_backup.signing.keys import PublicKey
from postgres_backup.signing.signers import Signers
from tests.services import ansible_runs

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "defaults").is_dir())
#: what people, shells and generators put into passwords
NASTY = [
    "two\nlines\n",  # a password may have them, and nothing else that is no name in PostgreSQL
    'pa"ss',
    "$HOME ${x} $(id)",
    "`id`",
    "back\\slash\\n \\",
    "# no comment",
    "pa'ss",
    "tab\tblank  ",
    "!history *? [a] ~ & | ; < > ( )",
    "Großzügig пароль 🔑",
    "'\"'\"'",
    "=a=b=",
    "-n",
    "~root/*.sh",
    "%s {x} \\n: yes",
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
    "backup_price_currency": "PRICE_CURRENCY",
    "backup_contact": "CONTACT",
    "backup_s3_prefix": "S3_PREFIX",
    "backup_ping_url": "PING_URL",
    "backup_drill_ping_url": "DRILL_PING_URL",
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


#: one of its own for each test that asks for a config: all are written in the same run, for a run
#: costs more than what is written in it
SECRET = "hunter2-hunter2"
SERVERS: dict[str, dict[str, object]] = {
    "plain": {},
    "nasty": dict(zip(TEXTS, NASTY, strict=True)),
    "several": {
        "backup_trusted_signers": ["several"],
        "backup_databases": ["crm", "my shop"],
        "backup_retention_days": "30",
        "backup_restore_in_place": "yes",
        "backup_db_sslmode": "verify-full",
        "backup_db_sslrootcert": "/etc/ssl/our ca.pem",
        "backup_db_sslcert": "/etc/ssl/our.pem",
        "backup_db_sslkey": "/etc/ssl/our.key",
        "backup_age_recipients": ["age1a", "age1b"],
        "backup_paths": ["/srv/app/.env", "/srv/up loads"],
        "backup_drill_queries": [{"sql": "SELECT 'it''s' <> \"x\"", "expect": True}],
        "backup_db_password": SECRET,
        "backup_s3_secret_key": SECRET,
        "backup_alert_urls": [f"tgram://{SECRET}"],
        "backup_ping_url": f"https://ping/{SECRET}",
        "backup_copy_to": {
            "endpoint_url": "https://s3.example.com",
            "bucket": "copies",
            "access_key": "AKIDOTHER",
            "secret_key": SECRET,
            "retention_days": 90,
        },
    },
}
#: the schedule of a server whose backups are encrypted, so that no drill there could open them
ENCRYPTED = "23:59"
#: templates that are rendered on the server ``plain``, with the time of the schedule
TEMPLATES = [
    *(("cron.j2", time) for time in ("00:00", "03:07", "23:59")),
    ("watch.timer.j2", "03:50"),
    ("watch.service.j2", "03:50"),
]
UNCHANGED = "so far nothing should have changed"
CONFIG = {"ansible.builtin.import_role": {"name": "backup", "tasks_from": "config"}}
#: of the two that have names of their own; ``several`` believes itself alone
SIGNING = {
    "ansible.builtin.import_role": {"name": "backup", "tasks_from": "signing"},
    "when": "inventory_hostname != 'plain'",
}


def run(folder: Path, *plays: dict) -> str:
    """Plays on this machine as whoever runs the tests; the output, with everything that Ansible can
    say.
    """
    hosts = {
        name: {"backup_config_file": str(folder / name / "backup-config.env")} | variables
        for name, variables in SERVERS.items()
    }
    common = REQUIRED | {
        "backup_become": False,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "backup_python": sys.executable,
    }
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    (folder / "plays.yml").write_text(
        yaml.safe_dump([{"gather_facts": False, **one} for one in plays])
    )
    environment = ansible_runs.environment(
        ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
        ANSIBLE_PIPELINING="1",  # as over ssh
    )
    program = ansible_runs.PLAYBOOK
    done = subprocess.run(
        [program, "-i", "hosts.json", "plays.yml", "--diff", "-vvv"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Written:
    """What the role has written, and what Ansible said: the first time, and where all is there."""

    folder: Path
    first: str
    again: str

    def config(self, server: str) -> Path:
        return self.folder / server / "backup-config.env"

    def rendered(self, template: str) -> dict[str, str]:
        """Time of the schedule -> what the template says."""
        texts = json.loads((self.folder / "rendered.json").read_text())
        return {
            time: text
            for (name, time), text in zip(TEMPLATES, texts, strict=True)
            if name == template
        }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The config of each of :data:`SERVERS` and each of :data:`TEMPLATES`; then ``several`` once
    more, and in check mode with another password.
    """
    folder = tmp_path_factory.mktemp("roles")

    render = {
        "ansible.builtin.set_fact": {
            "texts": "{{ texts | default([]) + [lookup('ansible.builtin.template', source)] }}"
        },
        "vars": {
            "source": str(ROOT / "roles/backup/templates/{{ item[0] }}"),
            "backup_schedule_time": "{{ item[1] }}",
            "backup_age_recipients": f"{{{{ ['age1a'] if item[1] == '{ENCRYPTED}' else [] }}}}",
        },
        "loop": [list(one) for one in TEMPLATES],
        "when": "inventory_hostname == 'plain'",
    }
    write = {
        "ansible.builtin.copy": {
            "content": "{{ texts | ansible.builtin.to_json }}",
            "dest": str(folder / "rendered.json"),
            "mode": "0600",
        },
        "when": "inventory_hostname == 'plain'",
    }
    changed = {"backup_db_password": SECRET + "changed"}
    said = {"ansible.builtin.debug": {"msg": UNCHANGED}}
    return Written(
        folder,
        run(folder, {"hosts": "all", "tasks": [CONFIG, SIGNING, render, write]}),
        run(
            folder,
            {"hosts": "several", "tasks": [CONFIG, SIGNING, said]},
            {"hosts": "several", "tasks": [CONFIG, SIGNING], "vars": changed, "check_mode": True},
        ),
    )


def changes(said: str, server: str) -> int:
    """How many tasks changed something on a server."""
    return said.count(f"\nchanged: [{server}]")


def shell_reads(path: Path, names: list[str], shell: str) -> dict[str, str]:
    """What a shell has after sourcing the file, in an empty environment."""
    script = f'. "$1"; for name in {" ".join(names)}; do '
    script += 'eval "value=\\$$name"; printf "%s=%s\\0" "$name" "$value"; done'
    done = subprocess.run(
        [shell, "-euc", script, shell, path], env={}, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_nasty_values_read_back_the_same_by_shells_and_by_the_program(written):
    path = written.config("nasty")
    expected = {variable: SERVERS["nasty"][name] for name, variable in TEXTS.items()}
    read = parse(path.read_text())
    assert {name: read[name] for name in expected} == expected
    shells = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
    assert shells
    for shell in shells:
        assert shell_reads(path, list(expected), shell) == expected


def test_the_config_becomes_settings_and_a_second_run_changes_nothing(written):
    path = written.config("several")
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
    [query] = queries.parsed(found.drill_queries)
    assert (query["sql"], query["expect"]) == ("SELECT 'it''s' <> \"x\"", "true")
    assert (found.db_sslmode, found.db_sslrootcert, found.db_sslcert, found.db_sslkey) == (
        "verify-full",
        "/etc/ssl/our ca.pem",
        "/etc/ssl/our.pem",
        "/etc/ssl/our.key",
    )
    assert (found.db_password, found.s3_secret_key, found.server_name) == (
        SECRET,
        SECRET,
        "several",
    )
    copied = found.of_copy()
    assert (copied.s3_bucket, copied.s3_prefix, copied.s3_region, copied.retention_days) == (
        "copies",
        "postgres-backup",
        "us-east-1",
        90,
    )
    assert copied.s3_secret_key == SECRET
    assert not config_file.load(str(written.config("plain"))).has_copy
    assert changes(written.first, "several") == 3  # the folder and the config; the key; the list
    assert changes(written.again.partition(UNCHANGED)[0], "several") == 0


def test_the_defaults_of_role_and_program_are_the_same(written):
    path = written.config("plain")
    values = parse(path.read_text())
    found = config_file.load(str(path))
    bare = config_file.from_values(
        {name: values[name] for name in config_file._REQUIRED} | {"DB_PASSWORD": "secret"},
        folder=str(path.parent),
    )
    assert found == bare
    known = {variable.name for variable, _ in settings.variables().values()}
    more = parse(written.config("several").read_text())
    assert known <= set(more)  # every setting can be given by a variable
    assert {name for name in more if name.startswith("COPY_")} == known - set(values)


def test_no_secret_is_shown_not_even_by_a_diff(written):
    assert written.config("several").read_text().count(SECRET) == 5
    before, _, checked = written.again.partition(UNCHANGED)
    assert (changes(before, "several"), changes(checked, "several")) == (0, 1)
    assert SECRET not in written.first + written.again


def test_each_server_has_a_key_whose_public_half_the_controller_has(written):
    for server in ("several", "nasty"):
        key = written.config(server).with_name("signing.key")
        assert key.stat().st_mode & 0o777 == 0o600
        mine = key.with_name("signing.key.pub").read_text().split()[1]
        name = str(SERVERS[server].get("backup_server_name", server))
        file = Path(keyring.file_of(str(written.folder / "keys"), name))
        assert file.read_text().split()[:2] == ["ssh-ed25519", mine]
        assert f"{file}: got SHA256:" in re.sub(r"\s+", " ", written.first)
        # what others see of it
        private = key.read_text().split("\n")[1:-2]
        assert not any(line in written.first + written.again for line in private)
    assert len(list((written.folder / "keys").iterdir())) == 2
    assert "\nchanged: [several -> localhost]" in written.first
    assert "changed: [several -> localhost]" not in written.again


def test_a_server_believes_whom_it_is_told_to(written):
    names = {"several": "several", "nasty": str(SERVERS["nasty"]["backup_server_name"])}
    for server, trusted in (("several", {"several"}), ("nasty", {"several", "nasty"})):
        file = written.config(server).with_name("trusted_signers")
        assert file.stat().st_mode & 0o777 == 0o644
        lines = signers.parse(file.read_text(), str(file))
        believed = Signers("another", lines=lines)
        for other, name in names.items():
            public = written.config(other).with_name("signing.key.pub").read_text()
            assert believed.trusts(name, PublicKey.of_line(public)) == (other in trusted)
        assert signers.load(config_file.load(str(written.config(server)))).lines == lines


def test_the_schedule_calls_every_quarter_so_that_utc_can_be_met_in_every_zone(written):
    expected = {"00:00": "0,15,30,45", "03:07": "7,22,37,52", "23:59": "14,29,44,59"}
    files = written.rendered("cron.j2")
    assert list(files) == list(expected)
    for time, text in files.items():
        assert text.endswith("\n")  # cron ignores a file whose last line has no end
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        night, hourly, *monthly = lines
        rest = (
            f"--journald --log-file /var/log/postgres-backup.log --config {written.config('plain')}"
        )
        assert ">" not in night, "a shell that cannot open the log does not start the program"
        assert (
            night == f"{expected[time]} * * * * postgres-backup"
            f" /usr/local/bin/postgres-backup run --at {time} {rest}"
        )
        # after the quarter of an hour in which the run is due, and within the hour
        assert (
            hourly == f"{(int(time[3:]) + 55) % 60} * * * * postgres-backup"
            f" /usr/local/bin/postgres-backup watch {rest}"
        )
        if time == ENCRYPTED:
            assert monthly == []
            continue
        minute, hour, day, *always = monthly[0].split(" ")[:5]
        assert (0 <= int(minute) < 60, 1 <= int(day) <= 28, always) == (True, True, ["*", "*"])
        assert int(hour) == (int(time[:2]) + 6) % 24
        command = "nice -n 10 /usr/local/bin/postgres-backup drill --database crm"
        assert monthly[0].split(" ", 5)[5] == f"postgres-backup {command} {rest}"


def test_the_timer_that_does_not_depend_on_cron(written):
    (timer,) = written.rendered("watch.timer.j2").values()
    (service,) = written.rendered("watch.service.j2").values()
    assert "OnCalendar=*-*-* *:15:00 UTC" in timer
    assert "OnBootSec=" in timer
    assert (
        "ExecStart=/usr/local/bin/postgres-backup watch --journald"
        f" --log-file /var/log/postgres-backup.log --config {written.config('plain')}" in service
    )
    assert "append:" not in service, "a systemd that cannot open the log does not start it"
    assert "User=postgres-backup" in service


def test_what_no_server_runs_by_itself_is_not_packed(tmp_path):
    builder = ROOT / "roles" / "backup" / "files" / "build_program.py"
    package = ROOT / "module_utils" / "postgres_backup"
    subprocess.run([sys.executable, builder, package, tmp_path / "program.pyz"], check=True)
    packed = {
        name.split("/")[1] for name in zipfile.ZipFile(tmp_path / "program.pyz").namelist()[1:]
    }
    there = {path.name for path in package.iterdir() if path.name != "__pycache__"}
    assert there - packed == {"page", "moving"}


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


def test_the_program_is_compiled_for_a_python_and_any_other_takes_the_sources(tmp_path):
    files = ROOT / "roles" / "backup" / "files"
    program, compiled = tmp_path / "program.pyz", tmp_path / "compiled.pyz"
    package = ROOT / "module_utils" / "postgres_backup"
    subprocess.run([sys.executable, files / "build_program.py", package, program], check=True)
    # as the role hands it over
    text = (files / "compile_program.py").read_text()
    subprocess.run([sys.executable, "-c", text, program, compiled], check=True)
    assert compiled.stat().st_mode & 0o777 == 0o644
    assert sorted(tmp_path.iterdir()) == [compiled, program]

    def loaded(place: Path) -> str:
        """From what a room of it was loaded: only what was compiled there knows the place."""
        ask = (
            "import sys; sys.path.insert(0, sys.argv[1]); import postgres_backup.clock as room; "
            "print(room.utc_now.__code__.co_filename)"
        )
        done = subprocess.run(
            [sys.executable, "-c", ask, place], capture_output=True, text=True, check=True, cwd="/"
        )
        return done.stdout.strip()

    with zipfile.ZipFile(program) as sources, zipfile.ZipFile(compiled) as both:
        names = sources.namelist()
        assert [name for name in both.namelist() if not name.endswith("c")] == names
        assert len(both.namelist()) == 2 * len(names) - 1
        # what another Python left is passed over: its number is not ours
        other = tmp_path / "other.pyz"
        with zipfile.ZipFile(other, "w") as changed:
            for name in both.namelist():
                content = both.read(name)
                changed.writestr(name, b"\0\0\r\n" + content[4:] if name[-1] == "c" else content)
    for place in (compiled, other):
        done = subprocess.run(
            [sys.executable, place, "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("postgres-backup ")
    assert loaded(compiled) == f"{compiled}/postgres_backup/clock.py"
    assert loaded(other) == f"{other}/postgres_backup/clock.py"


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
    """Those of the variables that an entry point reads, in its task files, templates and the
    handlers that it notifies, and by way of the role's other variables.
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
        for name in re.findall(r"""(?:src: "?|template', '|template: )([^'"\n]+\.j2)""", here):
            todo += (folder / "templates").glob(re.sub(r"{{.*?}}", "*", name))
        notified = set(re.findall(r"notify: (.+)", here))
        if notified:
            handlers = yaml.safe_load((folder / "handlers" / "main.yml").read_text())
            text += yaml.safe_dump([one for one in handlers if one["name"] in notified])
    made = read(role, "defaults", "main.yml")
    if (folder / "vars").is_dir():
        made |= read(role, "vars", "main.yml")
    found: set[str] = set()
    words = set(re.findall(r"\w+", text))
    while new := words & (variables | made.keys()) - found:
        found |= new
        texts = [str(made[name]) for name in new & made.keys()]
        for name in re.findall(r"template'(?:, |: )'([^']+\.j2)'", "".join(texts)):
            texts.append((folder / "templates" / name).read_text())
        words = {word for one in texts for word in re.findall(r"\w+", one)}
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


def test_what_a_setup_validates_once_is_not_validated_again_and_nothing_goes_without():
    """Each time costs the controller a process for each server."""
    [play] = yaml.safe_load((ROOT / "playbooks/setup.yml").read_text())
    validated = set()
    for one in play["roles"]:
        validated |= read(one["role"], "meta", "argument_specs.yml")["argument_specs"]["main"][
            "options"
        ].keys()
    for task in play["tasks"]:
        call = task.get("ansible.builtin.import_role") or task["ansible.builtin.include_role"]
        entry = call.get("tasks_from", "main")
        points = read(call["name"], "meta", "argument_specs.yml")["argument_specs"]
        options = points[entry]["options"].keys()
        assert call.get("rolespec_validate", True) is not (options <= validated), entry


def test_no_variable_is_wrong_without_a_look_at_them_one_by_one():
    """What is asked at once for all of them is all that the checks insist on."""
    [at_once] = yaml.safe_load((ROOT / "roles/backup/tasks/validate.yml").read_text())
    checks = yaml.safe_load((ROOT / "roles/backup/tasks/variables.yml").read_text())
    asked = [" ".join(one.split()) for one in at_once["when"].split(" or ")]
    assert [one["ansible.builtin.assert"]["that"] for one in checks] == [
        one.replace(" > 0", " == 0") if one.endswith(" > 0") else f"not {one}" for one in asked
    ]
    assert len(asked) >= 8


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
        "pitr_repository_fingerprint",
        "pitr_repository_key",
        "pitr_repository_suite",
    }
    known = set()
    for role in set(ROLES) - {"packages"}:  # which other roles set
        known |= set(read(role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"])
    named = set(
        re.findall(
            r"\b(?:backup|bucket|postgres_client|postgres_server|aws_cli|app|docker|pitr)_\w+",
            text,
        )
    )
    assert known - inner <= named
    assert set(yaml.safe_load(text)) <= known
