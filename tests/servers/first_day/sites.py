"""The servers of the first day, and what its tests look at on them and in their buckets."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from demo.s3_server import SeaweedFS
from tests.servers.controller import Controller, Play
from tests.servers.server import Server
from tests.services.plain_s3 import client_of
from tests.services.receivers import HttpReceiver

CONFIG = "/etc/postgres-backup/backup-config.env"
LOG = "/var/log/postgres-backup.log"
PREFIX = "postgres-backup/"
CA_FILE = "/etc/ssl/company-ca.pem"
#: the one word of the log's last line that an administrator greps for
OK_LINE = re.compile(r"^\S+Z OK \S+: 1 database\(s\), ", re.MULTILINE)
#: two servers install their packages at the same time, on a machine that may have two cores
LONG = pytest.mark.timeout(900)


@dataclasses.dataclass
class Site:
    """One server, the store its backups go to, and the secrets that must not be seen anywhere."""

    server: Server
    store: SeaweedFS
    bucket: str
    user: str
    password: str
    token: str

    @property
    def client(self):
        """A plain S3 client, to look at the bucket."""
        return client_of(self.store)

    def backups(self) -> list[str]:
        """The names that a listing of the prefix shows."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX, Delimiter="/")
        return [item["Key"].removeprefix(PREFIX) for item in found.get("Contents", [])]

    def manifest(self, backup: str) -> dict:
        key = f"{PREFIX}manifests/{backup.removesuffix('.sql.gz')}.json"
        return json.loads(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def program(self, *words: str, check: bool = True, timeout: float = 120):
        """``postgres-backup`` as root types it."""
        return self.server.inside(
            "/usr/local/bin/postgres-backup", *words, check=check, timeout=timeout
        )

    @property
    def secrets(self) -> list[str]:
        return [self.password, self.store.secret_key, self.token]


@dataclasses.dataclass
class Day:
    """What the tests share: the sites, the controller, and the output of every run so far."""

    sites: list[Site]
    controller: Controller
    plays: list[Play]
    web: HttpReceiver

    @property
    def keys(self) -> Path:
        """Where the controller keeps the public keys."""
        return self.controller.inventory / "keys"

    @property
    def told(self) -> list[str]:
        """The headlines of the messages that came, in order of the alphabet."""
        return sorted(request.json["title"] for request in self.web.requests)

    def run(self, *options: str, playbook: str = "setup.yml") -> Play:
        play = self.controller.run(playbook, *options)
        self.plays.append(play)
        return play


def state(server: Server) -> list[str]:
    """Files with their times, directories, packages, users and units: what a change would show in,
    but for Ansible's own folders.
    """
    places = "/etc /opt /usr /home /root /var/lib /var/spool /var/log"
    skipped = [
        ".ansible*",
        "/var/lib/systemd/*",
        "/var/lib/postgresql/*",
        "/var/log/*/*",
        "/var/lib/apt/*",
        "/var/lib/logrotate/*",  # the system's own timer may fire meanwhile
        "/var/log/*tmp",
        "/var/log/lastlog",
    ]
    find = f"find {places} -xdev " + " ".join(f"-not -path '*{pattern}'" for pattern in skipped)
    rest = "dpkg -l; getent passwd; systemctl list-unit-files"
    folders = f"{find} -type d -printf '%p %m %u\\n' | sort"
    files = f"{find} -not -type d -printf '%p %y %m %u %s %T@\\n' | sort"
    script = f"{folders}; {files}; {rest}"
    return server.inside("sh", "-ec", script).stdout.splitlines()
