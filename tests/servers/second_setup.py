"""What a second setup.yml costs the controller: ``python -m tests.servers.second_setup 1 4`` boots
the largest of these numbers of servers, sets them up, and says for each number the seconds of
processor of ansible-playbook with all that it starts, and what each further server costs.

As a user runs it: nothing is kept from one run to the next (``tests/services/ansible_runs.py``).
"""

from __future__ import annotations

import os
import re
import resource
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import layers
from tests.servers.controller import ROOT, Controller
from tests.servers.lab import Lab
from tests.services import ansible_runs
from tests.services.brief import BriefSeaweedFS


def main(numbers: list[int]) -> None:
    lab = Lab(os.environ.get("LAB_BRIDGE", "pgbsecond"), os.environ.get("LAB_NETWORK", "10.79.0"))
    if not lab.claim():
        raise SystemExit(f"{lab.bridge} is in use: set LAB_BRIDGE and LAB_NETWORK")
    with tempfile.TemporaryDirectory() as folder:
        try:
            lab.stop()
            lab.start()
            _measure(lab, Path(folder), numbers)
        finally:
            lab.stop()
            lab.release()


def _measure(lab: Lab, folder: Path, numbers: list[int]) -> None:
    store = BriefSeaweedFS(folder / "s3", "key", secrets.token_urlsafe(24), host=lab.address)
    with store:
        controller = Controller(lab, folder / "controller")
        names = [f"s{number + 1}" for number in range(max(numbers))]
        for name in names:
            _boot(lab, controller, name)
        controller.variables(
            backup_s3_endpoint_url=store.endpoint_url,
            backup_s3_bucket="backups",
            backup_s3_access_key=store.access_key,
            backup_s3_secret_key=store.secret_key,
        )
        _seconds(controller, names)  # the first one
        fewest, least = 0, 0.0
        for number in sorted(numbers):
            seconds, tasks = _seconds(controller, names[:number])
            each = f", {(seconds - least) / (number - fewest):.2f} each further" if fewest else ""
            print(f"{number} servers: {seconds:.2f} s{each}; {tasks} tasks", flush=True)
            fewest, least = fewest or number, least or seconds


def _boot(lab: Lab, controller: Controller, name: str) -> None:
    server = lab.up(name, "trixie", image=layers.image(lab, "trixie", "ready"))
    password = secrets.token_urlsafe(18)
    server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{password}'")
    server.sql("CREATE DATABASE crm OWNER crm")
    server.sql("SET ROLE crm; CREATE TABLE users AS SELECT generate_series(1, 100) AS id", "crm")
    controller.add(server, backup_db_name="crm", backup_db_user="crm", backup_db_password=password)


def _seconds(controller: Controller, names: list[str]) -> tuple[float, int]:
    """Of processor; and the tasks that were run or skipped for the last of the servers."""
    words, environment = controller.command("setup.yml", "--limit", ",".join(names))
    environment = {name: environment[name] for name in environment.keys() - ansible_runs.KEPT}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(words, cwd=ROOT, env=environment, text=True, capture_output=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not (found := re.search(rf"{names[-1]} +: ok=(\d+) .*failed=0 +skipped=(\d+)", said)):
        raise SystemExit(said)
    return sum(getattr(after, one) - getattr(before, one) for one in ("ru_utime", "ru_stime")), sum(
        map(int, found.groups())
    )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 4])
