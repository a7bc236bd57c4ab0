"""A backup on its way back: S3 -> decrypt -> decompress -> plain dump, and the check that all of it
was as the manifest says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..catalog.backups import Backup
from ..errors import BadBackupError
from ..findings import finding
from ..job import Job
from ..postgresql.pg_dump import ArchiveReader
from ..postgresql.programs import Programs
from ..stream import codec

#: so much of an archive holds its header, bytes
_HEAD_BYTES = 4096


class BackupReader:
    """The stream of one backup.

    :param programs: needed for the custom format only, which pg_restore turns into a plain dump.
    :raises UsageError: it is encrypted, and the job has no key.
    """

    def __init__(self, job: Job, backup: Backup, programs: Programs | None = None) -> None:
        self.job, self.backup, self.programs = job, backup, programs
        #: of the object, once all of it was read
        self.sha256 = ""
        #: the first bytes of a custom archive
        self.head = b""
        if backup.name.encrypted:
            job.require_identities(str(backup.name))

    def feed(self, sink: Callable[[bytes], object], table: Callable[[], str] = str) -> None:
        """Give the whole plain dump to ``sink``, chunk by chunk, then compare size and hash with
        the manifest.

        :param table: tells the table in hand, for progress.
        :raises BadBackupError: cut, altered, or swapped for another object.
        """
        packed = self._packed(table)
        if self.backup.name.encrypted:
            packed = codec.decrypt(packed, self.job.identities)
        if self.backup.name.format == "plain":
            for chunk in codec.decompress(packed, self.backup.name.compression):
                sink(chunk)
        elif self.programs is None:
            raise ValueError(f"no pg_restore was given for {self.backup.name}")
        else:
            with ArchiveReader(self.programs, sink) as reader:
                for chunk in packed:
                    self.head += chunk[: _HEAD_BYTES - len(self.head)]
                    reader.write(chunk)
                reader.finish()
        self._check()

    def _packed(self, table: Callable[[], str]) -> Iterator[bytes]:
        with self.job.store.download(self.backup.key, self.backup.bytes) as self._download:
            for chunk in self._download:
                yield chunk
                self.job.progress.advance(len(chunk), table)

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
