"""From pg_dump to the store: dump and inspect in one thread, compress and upload in another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType

from ..catalog.manifest import MemberRecord
from ..job import Job
from ..machine import signals
from ..machine.carried import Carried
from ..postgresql.pg_dump import Dump
from ..s3.upload import Upload
from ..stream.channel import Channel
from ..stream.codec import Chain
from .cuts import Cut, with_cuts


def pump(job: Job, dump: Dump, upload: Upload, begun: Callable[[], None]) -> list[MemberRecord]:
    """Everything of a dump into an upload; the two threads are a few chunks apart.

    :param begun: called once the dump comes, and so has its own hold of the snapshot.
    :return: where the members of the large tables begin, and end.
    """
    chain = Chain(
        job.settings.compression if job.settings.format == "plain" else "none",
        job.settings.age_recipients,
    )
    # left in the middle, pg_dump ends first
    with _Sink(chain, upload) as sink, contextlib.closing(dump.chunks()) as chunks:
        for number, chunk in enumerate(with_cuts(chunks, dump.inspector)):
            if number == 0:
                begun()
            sink.put(chunk)
            job.progress.advance(len(chunk), lambda: dump.inspector.current_table)
        sink.finish()
        return sink.members


class _Sink:
    """Compression and upload in a thread; what goes wrong there is raised here."""

    #: bytes of dump that may wait for the thread
    WAITING = 4 * 1024 * 1024

    def __init__(self, chain: Chain, upload: Upload) -> None:
        self._chain, self._upload, self._failure = chain, upload, Carried()
        self._channel = Channel(self.WAITING)
        self.members: list[MemberRecord] = []
        self._written = 0
        self._thread = threading.Thread(target=self._work, name="compress-and-upload", daemon=True)

    def _work(self) -> None:
        while chunk := self._channel.get():
            if self._failure.error is None:
                with self._failure:
                    self._write(chunk)

    def _write(self, chunk: bytes) -> None:
        if isinstance(chunk, Cut):
            data = self._chain.cut()
            place = self._written + len(data)
            self.members.append({"table": chunk.table, "at": place})
        else:
            data = self._chain.write(chunk)
        self._written += len(data)
        self._upload.write(data)

    def put(self, chunk: bytes) -> None:
        self._failure.check()
        self._channel.put(chunk)

    def finish(self) -> None:
        self._stop()
        self._failure.check()
        self._upload.write(self._chain.finish())

    def _stop(self) -> None:
        self._channel.end()
        self._thread.join()

    def __enter__(self) -> _Sink:
        with signals.hold:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            # else the thread would wait for a store that is silent as long as one that is wanted
            self._upload.give_up()
        self._stop()
