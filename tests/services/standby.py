"""A hot standby of a test's server."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.services.brief import BriefPostgresServer


class Standby(BriefPostgresServer):
    """Follows ``primary``; made of it by pg_basebackup at the first start.

    :param directory: as the demo's.
    :param primary: a running server.
    """

    def __init__(self, directory: str | os.PathLike[str], primary: BriefPostgresServer) -> None:
        super().__init__(directory, primary.major, settings={"hot_standby": "on"})
        self.primary = primary

    def _initialise(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for folder in filter(None, (self.data, self.socket_directory)):
            folder.mkdir(mode=0o700 if folder == self.data else 0o755, parents=True)
            self._give(folder)
        copy = ["pg_basebackup", "-D", self.data, "-R", "-X", "stream", "--checkpoint=fast"]
        subprocess.run(
            self._as_user([self.bin_dir / copy[0], *copy[1:], "--no-sync"]),
            env={**self._plain_environment(), **self.primary.environment()},
            cwd="/",
            check=True,
            capture_output=True,
        )
        self._remember(major=self.major, password=self.primary.password)

    def catch_up(self) -> bool:
        """Whether everything that the primary has written is here."""
        [(there,)] = self.primary.execute("SELECT pg_current_wal_lsn()")
        [(here,)] = self.execute(
            "SELECT coalesce(pg_last_wal_replay_lsn() >= %s, false)", params=(there,)
        )
        return here

    def remove(self) -> None:
        """Stop the server and delete its directory, and its data."""
        super().remove()
        shutil.rmtree(self.directory, ignore_errors=True)
