"""The files of a server kit: which there are, and how they become a tar although an application
goes on writing.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ..errors import PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..machine.progress import Progress
from ..s3.upload import Upload
from ..stream.codec import Chain

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: bytes read from a file at once
CHUNK = 1 << 20


def walk(paths: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every file, folder and link below the paths, with its bytes, folders first.

    :raises UsageError: a path is relative or is not there.
    :raises PostgresBackupError: a folder may not be read.
    """
    for path in paths:
        if not os.path.isabs(path):
            raise UsageError(
                f"The path {path!r} in backup_paths is not absolute",
                "Write it from the root: /srv/app/.env",
            )
        if not os.path.lexists(path):
            raise UsageError(
                f"The path {path} in backup_paths does not exist",
                "Correct backup_paths, or make it",
            )
        if os.path.islink(path) or not os.path.isdir(path):
            yield path, os.lstat(path).st_size
            continue
        for folder, folders, files in os.walk(path, onerror=_refuse):
            yield folder, 0
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in sorted(files + links):
                whole = os.path.join(folder, name)
                entry = os.lstat(whole)
                if stat.S_ISREG(entry.st_mode):
                    yield whole, entry.st_size
                elif stat.S_ISLNK(entry.st_mode):
                    yield whole, 0
            folders.sort()


def _refuse(error: OSError) -> NoReturn:
    raise PostgresBackupError(
        f"Failed to read {error.filename}: {error.strerror}",
        f"Let the backup user read it: setfacl -R -m u:postgres-backup:rX {error.filename}",
    )


def add(tar: tarfile.TarFile, path: str) -> list[Finding]:
    """One entry. What is gone by now is left out, what shrank is filled up, and both are findings.

    :raises PostgresBackupError: it cannot be read.
    """
    try:
        info = tar.gettarinfo(path, arcname=path)
        if not info.isreg():
            tar.addfile(info)
            return []
        with open(path, "rb") as file:
            exact = _Exactly(file, info.size)
            tar.addfile(info, exact)
    except FileNotFoundError:
        return [finding("FILE_GONE", f"{path} was removed while the kit was made")]
    except OSError as error:
        error.filename = path
        _refuse(error)
    return [finding("FILE_CHANGED", f"{path} changed while it was read")] if exact.short else []


class _Exactly(io.RawIOBase):
    """A file that gives as many bytes as its header in the tar says, whatever happens to it
    meanwhile.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self.short = file, size, False

    def read(self, count: int = -1) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        data = self._file.read(wanted)
        if len(data) < wanted:
            self.short = True
            data += bytes(wanted - len(data))
        self._left -= wanted
        return data


class Packed(io.RawIOBase):
    """Takes a tar, passes it on through the chain into the upload.

    :ivar bytes: of the tar so far.
    """

    def __init__(self, chain: Chain, upload: Upload, progress: Progress) -> None:
        self._chain, self._upload, self._progress = chain, upload, progress
        self._hash, self.bytes = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        with memoryview(data) as view:
            self._hash.update(view)
            self._upload.write(self._chain.write(view))
            self.bytes += view.nbytes
            self._progress.advance(view.nbytes)
            return view.nbytes

    def finish(self) -> None:
        self._upload.write(self._chain.finish())

    @property
    def sha256(self) -> str:
        """Of the tar, hexadecimal."""
        return self._hash.hexdigest()
