"""The demo's servers as tests need them: they end with the test, whatever ends it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from demo.postgres_server import PostgresServer
from demo.s3_server import SeaweedFS
from tests.services.in_memory import Folder

#: commits survive a killed server, but not a power cut; its journal keeps small, for it may lie in
#: memory
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}

#: a password is proven as everywhere, but not hashed four thousand times first: that is more than
#: half of what a connection costs, and a test makes hundreds
_QUICK_TO_ENTER = {"scram_iterations": "1"}


class BriefPostgresServer(PostgresServer):
    """A PostgreSQL without any fsync, which ends when the thread that starts it does. Its data lie
    in memory where there is room.

    :param directory: as the demo's.
    :param major: as the demo's.
    :param encoding: of its databases.
    :param locale: of its databases.
    :param settings: more configuration.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        major: int = 0,
        *,
        encoding: str = "UTF8",
        locale: str = "C.UTF-8",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, major, settings={**_NOT_DURABLE, **(settings or {})})
        if self.major >= 16:  # version 15 has no such setting
            self.settings = _QUICK_TO_ENTER | self.settings
        self.encoding, self.locale = encoding, locale
        self._folder = Folder(self.directory)
        self.data = self._folder.path / "data"

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self._folder.remove()

    def remove(self) -> None:
        """Stop the server and delete its directory, and its data."""
        super().remove()
        self._folder.remove()

    def _initdb_words(self) -> list[str]:
        quick = _QUICK_TO_ENTER if self.major >= 16 else {}
        return [word for name, value in quick.items() for word in ("-c", f"{name}={value}")]

    def _server_words(self, words: list) -> list:
        # by the user that it has become: a change of user would clear it (prctl(2),
        # PR_SET_PDEATHSIG)
        return ["setpriv", "--pdeathsig=INT", *words]


class BriefSeaweedFS(SeaweedFS):
    """An S3 server that ends when the thread that started it does.

    :param directory: as the demo's.
    :param access_key: as the demo's.
    :param secret_key: as the demo's.
    :param host: the address to listen on.
    :param more_keys: further identities: access key -> (secret key, actions as in
        :data:`demo.s3_server.ADMIN`).
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        access_key: str,
        secret_key: str,
        *,
        host: str = "127.0.0.1",
        more_keys: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    ) -> None:
        super().__init__(directory, access_key, secret_key)
        self.host = host
        self.keys |= more_keys or {}

    def _more_options(self) -> dict[str, str]:
        # a test's bucket is taken away with all that it left there
        return super()._more_options() | {"s3.allowDeleteBucketNotEmpty": "true"}

    def _command(self, ports: Mapping[str, int]) -> list[str]:
        return ["setpriv", "--pdeathsig", "KILL", *super()._command(ports)]
