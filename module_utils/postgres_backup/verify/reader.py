"""A backup on its way back: S3 -> check -> decrypt -> decompress -> plain dump; and at the end the
check that all of it was as the manifest says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager

from ..catalog.backups import Backup
from ..catalog.manifest import PartRecord
from ..errors import BadBackupError
from ..findings import finding
from ..job import Job
from ..postgresql import programs
from ..postgresql.facts import server_facts
from ..postgresql.pg_dump import ArchiveDamagedError, ArchiveReader
from ..postgresql.programs import Programs
from ..s3.download import Download
from ..stream import codec
from ..stream.ahead import Ahead
from ..stream.other_tools import ARCHIVE, Content, archive_head, unwrapped
from .pieces import Cutter, Mender, checked
from .ranges import ROWS_END, Pieces, Range, apart, header_of, ranges

#: bytes of the object, and of the plain dump, that wait to be used while more are read; where one
#: piece of the object has more than that, it is enough
_PACKED_AHEAD, _PLAIN_AHEAD, _LITTLE = 16 << 20, 1 << 20, 1 << 20


class BackupReader:
    """The stream of one backup. It is read as what it is, for a script may have named it otherwise.

    Where the manifest names the pieces of the object, no byte is used before its piece is whole and
    right. One that is signed and names none is read twice: first all of it, to know them; but not
    by whoever cuts it, for he uses nothing before its end.

    :param tools: whose pg_restore turns an archive into a plain dump; None: they are looked for
        where one comes.
    :param cutter: cuts the object into pieces as it passes, where the manifest names none.
    :raises UsageError: it is encrypted, and the job has no key.
    """

    def __init__(
        self,
        job: Job,
        backup: Backup,
        tools: Programs | None = None,
        cutter: Cutter | None = None,
    ) -> None:
        self.job, self.backup, self._tools, self._cutter = job, backup, tools, cutter
        #: of the object, once all of it was read
        self.sha256 = ""
        #: tables whose rows nobody wanted, and that were not read; and the bytes that were used
        self.unread: list[str] = []
        self.read_bytes = 0
        self._parts = backup.manifest.get("parts") if backup.manifest else None
        self._mender: Mender | None = None
        #: what other threads have read of the object, and have to say
        self._read, self._told, self._said = 0, 0, deque[str]()
        self._came = deque[int]()
        #: tables whose rows another session is given, see :meth:`share`
        self.apart: frozenset[str] = frozenset()
        #: the first bytes of an archive; empty for a plain dump
        self.head = b""
        if backup.name.encrypted:
            job.require_identities(str(backup.name))

    def look(self) -> None:
        """See by its beginning that it is something that can be read.

        :raises BadBackupError: it is not.
        """
        with self.job.store.download(self.backup.key, self.backup.bytes) as download:
            self._content(self._checked(download))

    def feed(
        self,
        sink: Callable[[bytes], object],
        table: Callable[[], str] = str,
        wants: Callable[[str], bool] | None = None,
    ) -> None:
        """Give the whole plain dump to ``sink``, chunk by chunk, then compare size and hash with
        the manifest.

        :param table: tells the table in hand, for progress.
        :param wants: whether the rows of a table are wanted, asked where they would come next; the
            others are not read where the object can be read in parts. :attr:`unread` names them.
        :raises BadBackupError: cut, altered, or swapped for another object.
        """
        pace = self.job.pace

        def paced(chunk: bytes) -> None:
            sink(chunk)
            pace.passed(len(chunk))

        if wants and (there := self._ranges()):
            with closing(self._in_parts(there, wants, table)) as chunks:
                for chunk in chunks:
                    paced(chunk)
            return
        if self.apart:
            self._feed_beside(sink, table)
            return
        # a sink that fails leaves no connection to the store behind
        try:
            with closing(Ahead(self._packed(), self._packed_ahead)) as packed:
                content = self._content(packed)
                if content.kind == ARCHIVE:
                    self.head = archive_head(content.head)
                    self._unpack(content, paced, table)
                else:
                    self._hand_on(packed, content.chunks, paced, table)
        finally:
            self._tell(table)
        self._check()

    def share(self) -> frozenset[str]:
        """Leave the rows of some large tables to another session: from now on :meth:`feed` gives
        only the statement before them and their end, and :meth:`rows_apart` all of it.

        :return: which; empty where there is nothing to share, or the object cannot be read in
            parts.
        """
        self.apart = apart(self._ranges())
        return self.apart

    def rows_apart(self) -> Generator[tuple[str, Generator[bytes, None, None]], None, None]:
        """The tables that are shared: the COPY statement of each, its rows and their end. For
        another thread than that which feeds.
        """
        with self._pieces(self._said.append) as pieces:
            for one in self._ranges():
                if one.table in self.apart:
                    yield one.table, self._unpacked(pieces, one)

    def _feed_beside(self, sink: Callable[[bytes], object], table: Callable[[], str]) -> None:
        def chunks() -> Generator[bytes, None, None]:
            with self._pieces(self._said.append) as pieces:
                for one in self._ranges():
                    unpacked = self._unpacked(pieces, one)
                    if one.table in self.apart:
                        yield header_of(unpacked, str(self.backup.name)) + ROWS_END
                        unpacked.close()
                    else:
                        yield from unpacked

        try:
            with closing(Ahead(chunks(), _PLAIN_AHEAD)) as plain:
                for chunk in plain:
                    self._tell(table)
                    sink(chunk)
        finally:
            self._tell(table)
        # each piece is what was uploaded, and so is all of them
        manifest = self.backup.manifest
        assert manifest
        self.sha256, self.read_bytes = manifest["sha256"], manifest["bytes"]

    def _ranges(self) -> list[Range]:
        return ranges(self.backup.manifest) if self.backup.manifest else []

    @contextmanager
    def _pieces(self, tell: Callable[[str], object]) -> Iterator[Pieces]:
        """Of an object that has ranges.

        :param tell: hears of a piece that came damaged.
        """
        with self.job.store.download(self.backup.key, self.backup.bytes) as download:
            mender = Mender(download.again, tell)
            yield Pieces(download, self._parts or [], str(self.backup.name), mender)

    def _unpacked(self, pieces: Pieces, one: Range) -> Generator[bytes, None, None]:
        def read() -> Iterator[bytes]:
            for chunk in pieces.read(one.start, one.end):
                yield chunk
                self._came.append(len(chunk))

        yield from codec.decompress(read(), self.backup.name.compression)

    def _hand_on(
        self,
        packed: Ahead,
        chunks: Iterable[bytes],
        sink: Callable[[bytes], object],
        table: Callable[[], str],
    ) -> None:
        with closing(Ahead(chunks, _PLAIN_AHEAD)) as plain:
            try:
                for chunk in plain:
                    self._tell(table)
                    sink(chunk)
            finally:
                packed.stop()  # the other thread may wait for it

    def _tell(self, table: Callable[[], str]) -> None:
        """What has happened in other threads."""
        while self._said:
            self.job.progress.step(self._said.popleft())
        more = self._read - self._told
        self._told += more
        while self._came:
            more += self._came.popleft()
        if more:
            self.job.progress.advance(more, table)

    @property
    def _packed_ahead(self) -> int:
        return _PACKED_AHEAD if self._largest <= _PACKED_AHEAD else _LITTLE

    @property
    def _largest(self) -> int:
        return max((part["bytes"] for part in self._parts or ()), default=0)

    @property
    def ahead_bytes(self) -> int:
        """By how much this process may grow while whoever uses what is read waits."""
        alone = _PLAIN_AHEAD + self._packed_ahead + 2 * self._largest
        return alone * 2 if self.apart else alone

    def _in_parts(
        self,
        there: list[Range],
        wants: Callable[[str], bool],
        table: Callable[[], str],
    ) -> Generator[bytes, None, None]:
        compression = self.backup.name.compression
        with self._pieces(self.job.progress.step) as pieces:
            for one in there:
                if one.table and not wants(one.table):
                    self.unread.append(one.table)
                    continue
                yield from codec.decompress(pieces.read(one.start, one.end), compression)
                self.read_bytes += one.end - one.start
                self.job.progress.advance(one.end - one.start, table)

    def _content(self, chunks: Iterable[bytes]) -> Content:
        name = self.backup.name
        if name.encrypted:
            chunks = codec.decrypt(chunks, self.job.identities)
        return unwrapped(chunks, name.format, name.compression)

    def _unpack(
        self, content: Content, sink: Callable[[bytes], object], table: Callable[[], str]
    ) -> None:
        settings = self.job.settings
        if self._tools is None:
            self._tools = programs.find(settings, server_facts(settings, self.job.database).major)
        try:
            with ArchiveReader(self._tools, sink) as reader:
                for chunk in content.chunks:
                    self._tell(table)
                    reader.write(chunk)
                reader.finish()
        except ArchiveDamagedError as error:
            newer = "unsupported version" in error.message
            raise BadBackupError(
                f"{self.backup.name} cannot be read: {error.message}",
                "It was written by a newer pg_dump: restore into that version or newer"
                if newer
                else "Choose another: postgres-backup list",
                [finding("ARCHIVE_DAMAGED", error.message)],
            ) from None

    def _packed(self) -> Generator[bytes, None, None]:
        """In a thread of its own."""
        if self._parts is None and self.backup.trusted and not self._cutter:
            self._parts = self._cut()
        with self.job.store.download(self.backup.key, self.backup.bytes) as self._download:
            for chunk in self._checked(self._download):
                yield chunk
                self._read += len(chunk)

    def _checked(self, download: Download) -> Iterable[bytes]:
        if self._parts is not None:
            self._mender = Mender(download.again, self._said.append)
            return checked(download, self._parts, str(self.backup.name), self._mender)
        return self._cutter.passed(download) if self._cutter else download

    def _cut(self) -> list[PartRecord]:
        """The pieces of an object that is what its manifest says; nothing of it was used."""
        for last in (False, True):
            cutter = Cutter(self.backup.bytes)
            with self.job.store.download(self.backup.key, self.backup.bytes) as self._download:
                for _ in cutter.passed(self._download):
                    continue
            try:
                self._check()
            except BadBackupError:
                if last:  # it may have been damaged on its way, once
                    raise
                self._said.append(f"{self.backup.name} came damaged; it is read again")
                continue
            break
        return cutter.parts()

    def _check(self) -> None:
        self.sha256, self.read_bytes = self._download.sha256, self._download.bytes
        if self._mender and self._mender.mended and self.backup.manifest:
            # each piece is what was uploaded, and so is all of them
            self.sha256 = self.backup.manifest["sha256"]
        _require_same(self.backup, self.sha256)


def read_stored(job: Job, backup: Backup) -> None:
    """Read the object as it lies there, to its end, and compare its pieces, or all of it, with the
    manifest; no key is needed.

    :raises BadBackupError: it is another.
    """
    parts = backup.manifest.get("parts") if backup.manifest else None
    with job.store.download(backup.key, backup.bytes) as download:
        mender = Mender(download.again, job.progress.step)
        through = checked(download, parts, str(backup.name), mender) if parts else download
        for chunk in through:
            job.progress.advance(len(chunk), "")
    if not mender.mended:
        _require_same(backup, download.sha256)


def _require_same(backup: Backup, sha256: str) -> None:
    if backup.manifest and sha256 != backup.manifest["sha256"]:
        raise BadBackupError(
            f"{backup.name} is not the object that was uploaded: its SHA-256 is "
            f"{sha256[:16]}..., the manifest says {backup.manifest['sha256'][:16]}...",
            "Restore another one: postgres-backup list",
            [finding("OBJECT_ALTERED", "the object's SHA-256 is not the manifest's")],
        )
