"""Every command that the documents show works as it is shown, and prints what they say it prints.

The ``sh`` blocks of a document run in order, in one shell, on a stage: a copy of the checkout whose
inventory names this machine ``db1``, a real PostgreSQL with a database ``crm``, a real S3 server,
backups of today and of the old scripts. A ``text`` block right behind them is what they print: each
of its lines must be there, in that order, but for numbers, times and how it is indented; ``...``
stands for lines left out.
"""

from __future__ import annotations

import ast
import dataclasses
import gzip
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from demo.postgres_server import find_programs
from demo.s3_server import SeaweedFS
from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.names import BackupName
from postgres_backup.clock import utc_now
from postgres_backup.job import Job
from postgres_backup.machine.config_file import load
from postgres_backup.signing import keys, signers
from tests import documents
from tests.documents import ROOT, Block
from tests.integration import engine
from tests.services import ansible_runs
from tests.services.receivers import HttpReceiver

_HERE, _DEMO = "tests/integration/test_readme.py", "tests/integration/test_demo.py"
_RECOVER = "ansible-playbook playbooks/pitr_restore.yml"
_MONITORING, _SERVERS = "tests/integration/test_monitoring.py", "tests/servers"
_FIRST_DAY = f"{_SERVERS}/first_day"
_BOOK = f"{_SERVERS}/test_documents.py::test_a_server_by_the_book_and_its_removal"
_NAME, _RULES = "postgres-backup", "docs/monitoring/postgres-backup-rules"
#: commands that act on a whole machine (or take minutes), by the test that runs them
_RUN_BY = {
    f"{_DEMO}::test_make_demo_as_a_newcomer_types_it": ("make demo", "make demo-clean"),
    f"{_HERE}::test_the_targets_of_make_are_there": (
        "make lint",
        "make test",
        'make test ARGS="tests/unit"',
    ),
    f"{_HERE}::test_the_bench_runs": ("make bench",),
    f"{_HERE}::test_commands_work_and_print_what_is_shown": ("age-keygen -o backup.key",),
    f"{_MONITORING}::test_promtool_accepts_the_rules": (f"promtool check rules {_RULES}.yml",),
    f"{_MONITORING}::test_the_rules_do_what_they_say": (f"promtool test rules {_RULES}-test.yml",),
    f"{_SERVERS}/test_lab.py::test_a_new_server_is_a_whole_debian": ("make server",),
    f"{_SERVERS}/test_lab.py::test_nothing_stays_behind": ("make server-clean",),
    f"{_SERVERS}/test_bootstrap.py::test_a_bare_server_becomes_a_controller": ("sh bootstrap.sh",),
    f"{_FIRST_DAY}/test_first_setup.py::test_setup_makes_backups_that_are_proven": (
        "ansible-playbook setup.yml",
    ),
    f"{_FIRST_DAY}/test_first_setup.py::test_check_mode_on_the_untouched_server_touches_nothing": (
        "ansible-playbook setup.yml --check --diff",
    ),
    f"{_SERVERS}/test_pitr.py::test_all_that_is_written_is_archived_encrypted_and_apart": (
        "ansible-playbook setup.yml -e backup_pitr_allow_restart=true",
        "postgres-backup pitr-backup --config /etc/postgres-backup-pitr/config.env",
    ),
    f"{_SERVERS}/test_pitr.py::test_a_moment_gets_a_name_once": (
        "ansible-playbook playbooks/backup.yml -e mark=before-migration-42",
    ),
    f"{_SERVERS}/test_pitr.py::"
    "test_the_cluster_of_a_moment_stands_beside_the_live_one_until_it_is_removed": (
        f"{_RECOVER} -e target_time=2026-01-27T14:03:00Z",
        f"{_RECOVER} -e target_time=2026-01-27T14:03:00Z -e keep=true",
        f"{_RECOVER} -e remove=true",
        *(
            f"{_RECOVER} -e target_time=2026-01-27T14:03:00Z{more}"
            for more in (
                " -e database=crm -e tables=users",
                # the same, in the page for the night
                " --limit db1",
                " -e database=crm -e tables=users --limit db1",
            )
        ),
    ),
    f"{_SERVERS}/test_pitr.py::"
    "test_a_database_of_a_moment_takes_the_live_ones_place_and_goes_again": (
        f"{_RECOVER} -e target_time=2026-01-27T14:03:00Z -e database=crm",
        f"{_RECOVER} -e target_time=2026-01-27T14:03:00Z -e database=crm --limit db1",
    ),
    f"{_SERVERS}/test_pitr.py::"
    "test_the_cluster_of_a_moment_takes_the_live_ones_place_and_goes_again_twice": (
        f"{_RECOVER} -e target_time=2026-01-27T14:03:00Z -e promote=true",
    ),
    f"{_SERVERS}/test_pitr.py::test_archiving_that_stops_is_an_alarm_and_its_end_is_told": (
        "postgres-backup pitr-look --config /etc/postgres-backup-pitr/config.env",
    ),
    f"{_FIRST_DAY}/test_keys.py::test_a_new_key_takes_over_and_the_old_one_stays_good": (
        "ansible-playbook setup.yml -e rotate_signing_key=true",
    ),
    "tests/integration/test_playbooks.py::"
    "test_setup_counts_what_was_made_before_there_was_a_key_and_signs_it_when_told": (
        "ansible-playbook setup.yml -e adopt=true",
    ),
    f"{_SERVERS}/test_recovery.py::test_a_lost_server_is_rebuilt_on_a_bare_one": (
        "ansible-playbook rebuild.yml --limit db1",
    ),
    f"{_SERVERS}/test_rebuild.py::test_a_server_is_rebuilt_from_the_second_store_alone": (
        "ansible-playbook rebuild.yml --limit db1 -e from=copy",
    ),
    f"{_SERVERS}/test_pitr.py::test_a_drill_shows_the_first_of_two_rows_and_leaves_nothing": (
        "postgres-backup pitr-drill --config /etc/postgres-backup-pitr/config.env",
    ),
    f"{_SERVERS}/test_pitr_rebuild.py::"
    "test_a_server_that_lost_its_power_under_load_is_rebuilt_to_its_last_second": (
        "ansible-playbook rebuild.yml --limit db1 -e from=pitr",
    ),
    f"{_SERVERS}/test_pitr_resumed.py::"
    "test_a_rebuild_that_is_broken_off_twice_goes_on_when_it_is_typed_again": (
        "ansible-playbook rebuild.yml --limit db1 -e from=pitr -e target_time=2026-01-27T14:03:00Z",
    ),
    **{
        f"{_SERVERS}/test_pitr_docker.py::{test}": tuple(
            command
            for heading in headings
            for block in documents.blocks(
                "docs/pitr.md", documents.section("docs/pitr.md", heading)
            )
            if block.language == "sh"
            for command in block.commands()
        )
        for test, headings in {
            "test_a_container_archives_and_is_backed_up_as_its_schedule_says": (
                "Set it up there",
                "Look at it there",
            ),
            "test_between_two_rows_there_is_the_first_in_a_new_volume": ("All of it, by hand",),
            "test_the_new_volume_takes_the_place_of_the_live_one_and_goes_again": (
                "All of it in its place",
            ),
        }.items()
    },
    "tests/integration/test_playbooks.py::"
    "test_when_the_first_store_is_gone_the_playbooks_take_the_second": (
        "ansible-playbook playbooks/list.yml -e from=copy --limit db1",
        "ansible-playbook restore.yml -e backup=latest -e from=copy --limit db1",
    ),
    f"{_SERVERS}/test_rebuild.py::test_a_server_without_docker_is_rebuilt_over_several_attempts": (
        "ansible-playbook playbooks/drill.yml -e rebuild=true --limit db1",
    ),
    f"{_SERVERS}/test_moving.py::test_from_the_scripts_and_back": (
        "ansible-playbook playbooks/adopt.yml --check",
        "ansible-playbook playbooks/adopt.yml -e import=/opt/crm/backup-config.env",
        "ansible-playbook playbooks/adopt.yml",
        "ansible-playbook playbooks/adopt.yml -e adopt=undo",
    ),
    f"{_SERVERS}/test_metrics.py::test_node_exporter_serves_what_a_night_wrote": (
        "apt install prometheus-node-exporter",
        "curl -s http://localhost:9100/metrics | grep ^postgres_backup_",
    ),
    _BOOK: (
        "cat /etc/cron.d/postgres-backup",
        "systemctl disable --quiet --now postgres-backup-watch.timer",
        "rm -f /etc/systemd/system/postgres-backup-watch.* && systemctl daemon-reload",
        f"rm -f /etc/cron.d/{_NAME} /etc/logrotate.d/{_NAME} /usr/local/bin/{_NAME}",
        f"rm -rf /opt/{_NAME} /etc/{_NAME} /var/lib/{_NAME} /var/log/{_NAME}.log*",
        "deluser --quiet postgres-backup",
    ),
}
ELSEWHERE = {command: test for test, commands in _RUN_BY.items() for command in commands}

MARK = "@@command@@"
CRM = """
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, balance numeric NOT NULL);
CREATE TABLE orders (
    id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, total numeric NOT NULL
);
INSERT INTO users SELECT n, 'user ' || n, n * 10 FROM generate_series(1, 2000) n;
INSERT INTO orders SELECT n, n % 2000 + 1, n / 7.0 FROM generate_series(1, 5000) n;
"""


@dataclasses.dataclass
class Stage:
    """Where the commands of a document run.

    :param replacements: what stands in the documents for something that differs from reader to
        reader.
    """

    checkout: Path
    environment: dict[str, str]
    replacements: dict[str, str]
    database: object
    s3_client: object
    bucket: str

    def object(self, key: str) -> bytes:
        return self.s3_client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def stock_tools(self) -> dict[str, str]:
        """The environment that psql, createdb and aws need where no config is sourced."""
        server, environment = self.database.server, self.environment
        found = {
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": self.database.owner,
            "PGPASSWORD": self.database.password,
        }
        keys = {
            "AWS_ACCESS_KEY_ID": environment["BACKUP_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": environment["BACKUP_S3_SECRET_KEY"],
        }
        return found | keys | {"AWS_DEFAULT_REGION": "us-east-1"}

    def run(self, blocks: list[Block]) -> dict[Block, str]:
        """What the commands of each block printed.

        :raises pytest.fail.Exception: one of them ended with another status than 0.
        """
        script = ["set -o pipefail"]
        for number, block in enumerate(blocks):
            for command in block.commands():
                if command in ELSEWHERE:
                    continue
                for name, value in self.replacements.items():
                    command = re.sub(rf"(?<![\w$-]){re.escape(name)}(?![\w-])", value, command)
                script += [
                    f"echo {shlex.quote(f'{MARK} {number} {command}')}",
                    command,
                    "status=$?",
                    "[ $status = 0 ] || exit $status",
                ]
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.checkout,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            input="not a real password",
            text=True,
            timeout=840,
            check=False,
        )
        parts = re.split(rf"^{MARK} (\d+) (.*)\n", done.stdout, flags=re.MULTILINE)
        printed: dict[Block, str] = {}
        for number, _, output in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            printed[blocks[int(number)]] = printed.get(blocks[int(number)], "") + output
        if done.returncode:
            pytest.fail(
                f"{blocks[int(parts[-3])].where} shows: {parts[-2]}\n"
                f"It ended with {done.returncode}:\n{parts[-1]}",
                pytrace=False,
            )
        return printed


@pytest.fixture
def stage(
    new_database: Callable,
    s3: SeaweedFS,
    bucket: str,
    tmp_path: Path,
    s3_client,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    database = new_database("crm", owner="crm")
    database.server.execute("GRANT pg_read_all_settings, pg_signal_backend TO crm")
    _output(
        [
            database.server.bin_dir / "psql",
            "-qX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            CRM,
            database.dsn(),
        ]
    )
    checkout = tmp_path / "checkout"
    shutil.copytree(
        ROOT,
        checkout,
        ignore=shutil.ignore_patterns(".*", "bench-*", "all.yml", "hosts.yml", "__pycache__"),
        symlinks=True,
    )
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (checkout / "inventory/hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"db1": host}}}))
    etc, state, programs = tmp_path / "etc", tmp_path / "state", tmp_path / "bin"
    variables = {
        "backup_db_host": database.server.host,
        "backup_db_port": database.server.port,
        "backup_db_name": database.name,
        "backup_db_user": database.owner,
        "backup_db_password": "{{ lookup('ansible.builtin.env', 'BACKUP_DB_PASSWORD') }}",
        "backup_s3_endpoint_url": s3.endpoint_url,
        "backup_s3_bucket": bucket,
        "backup_s3_access_key": "{{ lookup('ansible.builtin.env', 'BACKUP_S3_ACCESS_KEY') }}",
        "backup_s3_secret_key": "{{ lookup('ansible.builtin.env', 'BACKUP_S3_SECRET_KEY') }}",
        "backup_pg_bin_dir": str(find_programs(database.server.major)),
        "backup_become": False,
        "backup_python": sys.executable,
        "backup_config_file": str(etc / "backup-config.env"),
        "backup_state_dir": str(state),
    }
    (checkout / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    _write_commands(checkout, programs, etc / "backup-config.env")
    places = (find_programs(database.server.major), Path(sys.prefix) / "bin")
    environment = ansible_runs.KEPT | {
        # the documents take an activated .venv for given after their first lines
        "PATH": ":".join(map(str, (programs, *places, os.environ["PATH"]))),
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "vault-password"),
        "BACKUP_DB_PASSWORD": database.password,
        "BACKUP_S3_ACCESS_KEY": s3.access_key,
        "BACKUP_S3_SECRET_KEY": s3.secret_key,
    }
    (tmp_path / "vault-password").write_text("not a real password either\n")
    (checkout / "stage.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - import_role: {name: backup, tasks_from: config}\n"
    )
    _output([Path(sys.prefix) / "bin/ansible-playbook", "stage.yml"], cwd=checkout, env=environment)
    replacements = {
        "/etc/postgres-backup": str(etc),
        "/var/log/postgres-backup.log": str(tmp_path / "postgres-backup.log"),
    }
    replacements |= {"https://object.pscloud.io": s3.endpoint_url, "my-company-backups": bucket}
    made = Stage(checkout, environment, replacements, database, s3_client, bucket)
    _take_backups(made, tmp_path)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    replacements["/tmp/kit"] = str(tmp_path / "kit")
    with open(etc / "backup-config.env", "a", encoding="utf-8") as config:
        config.write(f"BACKUP_PATHS={tmp_path / 'compose.yml'}\nKIT_PLAIN=true\n")
    kept = engine.run(etc / "backup-config.env", "kit")
    assert kept.returncode == 0, kept.stderr
    keys = f"AWS_ACCESS_KEY_ID={s3.access_key}\nAWS_SECRET_ACCESS_KEY={s3.secret_key}\n"
    (checkout / "bucket.env").write_text(
        f"S3_ENDPOINT_URL={s3.endpoint_url}\nS3_BUCKET_NAME={bucket}\n{keys}"
    )
    return made


def _output(argv: list, **how) -> bytes:
    """What a program printed.

    :raises pytest.fail.Exception: it did not end with 0; shows what it complained of.
    """
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=280, check=False, **how
    )
    if done.returncode:
        pytest.fail(
            f"{argv} ended with {done.returncode}:\n"
            + (done.stdout + done.stderr).decode(errors="replace"),
            pytrace=False,
        )
    return done.stdout


def _write_commands(checkout: Path, programs: Path, config: Path) -> None:
    """What a server has in its PATH and a checkout in .venv after bootstrap.sh."""
    programs.mkdir()
    venv = checkout / ".venv/bin"
    venv.mkdir(parents=True)
    (venv / "activate").write_text(f"PATH={shlex.quote(str(Path(sys.prefix) / 'bin'))}:$PATH\n")
    modules = shlex.quote(str(checkout / "module_utils"))
    for path, call in (
        (
            programs / "postgres-backup",
            f"PYTHONPATH={modules} exec {sys.executable} -m postgres_backup --config {config}",
        ),
        (venv / "python", f"exec {sys.executable}"),
    ):
        path.write_text(f'#!/bin/sh\n{call} "$@"\n')
        path.chmod(0o755)


def _take_backups(stage: Stage, folder: Path) -> None:
    """One of the old scripts, an encrypted one, one of last night with its log; then a mistake is
    made.
    """
    server, config = stage.database.server, load(str(folder / "etc/backup-config.env"))
    old = BackupName(utc_now().replace(hour=0, minute=0, second=0) - timedelta(days=3))
    dumped = _output([server.bin_dir / "pg_dump", stage.database.dsn()])
    stage.s3_client.put_object(
        Bucket=stage.bucket, Key=f"postgres-backup/{old}", Body=gzip.compress(dumped)
    )
    key = _output(["age-keygen"]).decode()
    (stage.checkout / "backup.key").write_text(key)
    public = re.search(r"age1\w+", key)[0]
    stage.replacements["FILE.age"] = create_backup(
        Job(dataclasses.replace(config, age_recipients=(public,)))
    )["backup"]
    night = engine.run(folder / "etc/backup-config.env", "run")
    assert night.returncode == 0, night.stderr
    (folder / "postgres-backup.log").write_text(night.stderr)
    newest = json.loads((folder / "state/last-run.json").read_text())
    for name in ("FILE", "postgres-backup-2026-01-27_00-00-00.sql.gz"):
        stage.replacements[name] = newest["databases"]["crm"]["backup"]["backup"]
    stage.replacements["MANIFEST"] = stage.replacements["FILE"].partition(".")[0]
    trusted = signers.line_of(config.server_name, keys.load(config).public)
    Path(config.trusted_signers_file).write_text(f"{trusted}\n")
    for name in ("crm_new", "crm_newer"):
        server.execute(f"CREATE DATABASE {name} OWNER crm")
    stage.database.execute("DELETE FROM orders WHERE user_id < 100")
    stage.database.execute("DELETE FROM users WHERE id < 100")


def _plain(line: str) -> str:
    """A line without what differs from run to run: times, sizes, counts, indentation."""
    line = line.replace("127.0.0.1", "localhost")  # where the tests have their server
    line = re.sub(r"\d{4}-\d\d-\d\d(?:[T_]\d\d[:-]\d\d[:-]\d\dZ?)?", "TIME", line)
    line = re.sub(r"\d[\d,.]*(?: (?:k|M|G)?B\b| (?:s|min|h|d)\b)?", "#", line)
    return " ".join(line.split())


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "document",
    [d for d in documents.DOCUMENTS if any(b.language == "sh" for b in documents.blocks(d))],
)
def test_commands_work_and_print_what_is_shown(stage: Stage, web: HttpReceiver, document: str):
    found = documents.blocks(document)
    if (
        document == "docs/DISASTERS.md"
    ):  # any machine that can reach the server and the bucket, not a server of ours
        stage.environment |= stage.stock_tools()
    if document == "docs/monitoring.md":  # somebody who is told
        with open(
            Path(stage.replacements["/etc/postgres-backup"]) / "backup-config.env",
            "a",
            encoding="utf-8",
        ) as config:
            config.write(f"ALERT_URLS=json://127.0.0.1:{web.port}\n")
    printed = stage.run([block for block in found if block.language == "sh"])
    for before, block in itertools.pairwise(found):
        if block.answers and before in printed:
            output = [_plain(line) for line in printed[before].splitlines()]
            for line in filter(None, map(_plain, block.text.splitlines())):
                if line == "...":
                    continue
                assert any(line in one for one in output), (
                    f"{block.where}: {line!r} is not printed after the line before it:\n"
                    + printed[before]
                )
                output = output[next(n for n, one in enumerate(output) if line in one) + 1 :]


def test_by_hand_no_command_of_a_dump_is_run(new_database: Callable, tmp_path: Path):
    """psql runs ``\\!``; as the documents call it, it does not, and loads what pg_dump makes."""
    pages = ("README.md", "docs/DISASTERS.md", "docs/cookbook.md")
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in pages]
    [restricted] = {re.findall(r"^restricted\(\) .*", text, re.M)[0] for text in texts}
    source, target = new_database("by_hand_from"), new_database("by_hand_to")
    source.execute("CREATE TABLE lines AS SELECT E'\\\\restrict 1' AS line")
    environment = os.environ | {"PATH": f"{source.server.bin_dir}:{os.environ['PATH']}"}

    def load(text: bytes) -> subprocess.CompletedProcess:
        pipe = f"restricted | psql -qX -v ON_ERROR_STOP=1 '{target.server.dsn(target.name)}'"
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{restricted}\n{pipe}"],
            input=text,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )

    honest = _output([source.server.bin_dir / "pg_dump", source.server.dsn(source.name)])
    loaded = load(honest)
    assert not loaded.returncode, loaded.stderr
    assert target.execute("SELECT line FROM lines") == [(r"\restrict 1",)]
    begins = (
        b"",
        b"\\restrict 1\n\\unrestrict 1\n",
        b"\\unrestrict 1\n",
        b"COPY pg_catalog.x FROM stdin;\n",
    )
    for begin in begins:
        refused = load(begin + b"\\! touch canary\n")
        assert refused.returncode == 3, (begin, refused.stderr)
        assert not (tmp_path / "canary").exists()


def test_the_manifest_is_as_described(stage: Stage):
    described = documents.section("docs/reference.md", "The manifest")
    example = json.loads(
        next(
            block.text
            for block in documents.blocks("docs/reference.md", described)
            if block.language == "json"
        )
    )
    fields = {
        name
        for row in documents.table_rows(described)
        for name in re.findall(r"`([a-z0-9_]+)`", row[0])
    }
    name = stage.replacements["FILE"].removesuffix(".sql.gz")
    found = json.loads(stage.object(f"postgres-backup/manifests/{name}.json"))
    assert list(example) == list(found)
    large = {"members"}  # only where a table is large
    assert fields == found.keys() | large
    assert example["tables"]["public.users"].keys() == found["tables"]["public.users"].keys()
    assert example["server"].keys() == found["server"].keys()
    events = {
        row[0]
        for row in documents.table_rows(documents.section("docs/reference.md", "The journal"))
    }
    told = re.findall(r"`([a-z-]+)`", " ".join(events))
    assert {"backup-began", "backup"} <= set(told)


def test_every_command_that_is_not_run_here_has_its_test():
    shown = {
        command
        for document in documents.DOCUMENTS
        for block in documents.blocks(document)
        if block.language == "sh"
        for command in block.commands()
    }
    assert not ELSEWHERE.keys() - shown, "no document shows these any more"
    for command, test in ELSEWHERE.items():
        file, _, name = test.partition("::")
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, f"{command}: there is no test {test}"


def test_the_targets_of_make_are_there():
    """Those that set up an environment of their own are not made here: this looks whether make
    knows them and what they call exists.
    """
    for command in ELSEWHERE:
        if command.startswith("make "):
            done = subprocess.run(
                ["make", "-n", *shlex.split(command)[1:]],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_bench_runs():
    done = _output([sys.executable, "-m", "bench", "--scale", "0.05", "--restores", "0"], cwd=ROOT)
    assert b"| backup: postgres-backup |" in done
    small = ["--rounds", "1", "--scale", "0.003", "--databases", "json", "--stores", "rclone"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "module_utils")}
    done = _output([sys.executable, "-m", "bench.restores", *small], cwd=ROOT, env=environment)
    assert b"json" in done
    assert not list(ROOT.glob("bench-*")), "nothing stays behind"
