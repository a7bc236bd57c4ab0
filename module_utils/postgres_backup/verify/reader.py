"""A backup on its way back: S3 -> decrypt -> decompress -> plain dump, and the check that all of it
was as the manifest says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..catalog.backups import Backup
from ..errors import BadBackupError, UsageError
from ..findings import finding
from ..machine.progress import Progress
from ..postgresql.pg_dump import ArchiveReader
from ..postgresql.programs import Programs
from ..s3.store import Store
from ..stream import codec


class Source:
    """The stream of one backup.

    :param identities: private age keys, for an encrypted backup.
    :param programs: needed for the custom format only, which pg_restore turns into a plain dump.
    """

    def __init__(
        self,
        store: Store,
        backup: Backup,
        programs: Programs | None = None,
        identities: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> None:
        self.store, self.backup, self.programs, self.identities = (
            store,
            backup,
            programs,
            identities,
        )
        self.progress = progress or Progress()
        self.sha256 = ""
        if backup.name.encrypted and not identities:
            raise UsageError(
                f"{backup.name} is encrypted and no private key was given",
                "Give the age key file: --identity FILE "
                "(Ansible: -e backup_age_identity_file=FILE)",
            )

    def feed(self, sink: Callable[[bytes], None], table: Callable[[], str] = str) -> None:
        """Give the whole plain dump to ``sink``, chunk by chunk, then compare size and hash with
        the manifest.

        :param table: tells the table in hand, for progress.
        :raises BadBackupError: cut, altered, or swapped for another object.
        """
        packed = self._packed(table)
        if self.backup.name.encrypted:
            packed = codec.decrypt(packed, self.identities)
        if self.programs is not None and self.backup.name.format == "custom":
            with ArchiveReader(self.programs, sink) as reader:
                for chunk in packed:
                    reader.write(chunk)
                reader.finish()
        else:
            for chunk in codec.decompress(packed, self.backup.name.compression):
                sink(chunk)
        self._check()

    def _packed(self, table: Callable[[], str]) -> Iterator[bytes]:
        with self.store.download(self.backup.key, self.backup.bytes) as self._download:
            for chunk in self._download:
                yield chunk
                self.progress.advance(len(chunk), table)

    def _check(self) -> None:
        self.sha256 = self._download.sha256
        manifest = self.backup.manifest
        if manifest and self.sha256 != manifest["sha256"]:
            raise BadBackupError(
                f"{self.backup.name} is not the object that was uploaded: its SHA-256 is "
                f"{self.sha256[:16]}..., the manifest says {manifest['sha256'][:16]}...",
                "Restore another backup: postgres-backup list",
                [finding("OBJECT_ALTERED", "the object's SHA-256 is not the manifest's")],
            )
