"""The S3 server of the tests as a service of a server of the lab: by its clock."""

from __future__ import annotations

import secrets
from pathlib import Path

from demo.s3_server import find_weed
from tests.services.secure_s3 import SecureSeaweedFS, make_certificate

from .server import Server

FOLDER = "/srv/store"
#: nobody else listens there
PORTS = {"master": 11001, "volume": 11002, "filer": 11003, "s3": 11004, "admin": 11005}
UNIT = """[Unit]
Description=An S3 server

[Service]
WorkingDirectory={folder}
Environment={environment}
ExecStart={words}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


class StoreInside(SecureSeaweedFS):
    """Serves HTTPS at the server's address.

    :param server: where it runs.
    :param directory: on this machine, for its certificate and keys.
    """

    def __init__(self, server: Server, directory: Path) -> None:
        super().__init__(
            directory, "lab-access-key", secrets.token_urlsafe(24), host=server.address
        )
        self.server, self.port = server, PORTS["s3"]

    def start(self) -> StoreInside:
        make_certificate(self.directory / "tls", self.host)
        for name in ("data", "tmp"):
            (self.directory / name).mkdir()
        self._write_keys()
        self.server.put(self.directory, FOLDER)
        self.server.put(Path(find_weed()), f"{FOLDER}/weed")
        environment = {**self._environment(), "HOME": FOLDER, "TMPDIR": f"{FOLDER}/tmp"}
        # what is given back to a kernel that is a process costs more than it is worth
        environment |= {"GOGC": "off", "GODEBUG": "madvdontneed=0"}
        unit = UNIT.format(
            folder=FOLDER,
            environment=" ".join(f"{name}={value}" for name, value in environment.items()),
            words=" ".join([f"{FOLDER}/weed", *self._arguments(PORTS)]),
        )
        self.server.write("/etc/systemd/system/store.service", unit)
        self.server.inside("systemctl", "daemon-reload")
        self.resume()
        return self

    def resume(self) -> None:
        """Start it, and wait until S3 answers."""
        self.server.inside("systemctl", "enable", "--now", "--quiet", "store")
        self._wait()

    def stop(self) -> None:
        self.server.inside("systemctl", "stop", "store")
