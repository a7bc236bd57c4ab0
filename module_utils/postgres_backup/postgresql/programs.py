"""PostgreSQL's own programs of the right major: pg_dump, pg_dumpall and pg_restore.

They come from this machine or, with ``db_container``, from the container the server runs in. The
password travels in the environment, never in an argument.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from ..errors import DatabaseError
from ..machine import run_mark, signals
from ..settings import Settings
from . import session

#: where Debian, Ubuntu and the PostgreSQL project's packages put a major's programs
_PACKAGED = "/usr/lib/postgresql/{major}/bin"
#: hints: of a program that does not begin, and of one that failed for what nobody here knows
_INSTALL_ANEW = "`ansible-playbook setup.yml` installs PostgreSQL's programs anew"
NO_CAUSE_KNOWN = "The database server's log may have more; then try again"


@dataclasses.dataclass(frozen=True)
class Programs:
    """How to call the programs: an argument list to put before the program's own, and the
    environment.
    """

    settings: Settings
    directory: str
    version: str

    def argv(self, program: str, database: str, *arguments: str) -> list[str]:
        """The whole command line; it holds no secret."""
        s = self.settings
        host, port = ("127.0.0.1", "5432") if s.db_container else (s.db_host, str(s.db_port))
        # a database's name may look like a connection string; libpq reads dbname= quoted as a name
        # and nothing else
        name = "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"
        call = [
            os.path.join(self.directory, program),
            "-h",
            host,
            "-p",
            port,
            "-U",
            s.db_user,
            "-w",
        ]
        call += ["-l" if program == "pg_dumpall" else "-d", name, *arguments]
        if s.db_container:
            return [
                "docker",
                "exec",
                "-i",
                # docker passes on those that are set
                *(part for name in (*self._variables, "PGCLIENTENCODING") for part in ("-e", name)),
                s.db_container,
                *call,
            ]
        return call

    def environment(self, encoding: str = "") -> dict[str, str]:
        """PATH and libpq's variables, and nothing of ours: a run from cron and one by hand see the
        same.

        :param encoding: see :meth:`start`.
        """
        return (
            {
                "PATH": os.environ.get("PATH", os.defpath),
                "LC_ALL": "C.UTF-8",
                "HOME": "/nonexistent",
            }
            | self._variables
            | ({"PGCLIENTENCODING": encoding} if encoding else {})
        )

    @property
    def _variables(self) -> dict[str, str]:
        return _variables(self.settings, _numbers(self.version)[0])

    def start(
        self,
        program: str,
        database: str,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        encoding: str = "",
    ) -> Process:
        """A program at work; ``stdin`` and ``stdout`` are as for :mod:`subprocess`.

        :param encoding: PostgreSQL's name of the one that it speaks; empty: what the server, the
            role or the database have as ``client_encoding``.
        """
        argv = self.argv(program, database, *arguments)
        return Process(program, argv, self.environment(encoding), stdin, stdout)


def _variables(settings: Settings, major: int) -> dict[str, str]:
    variables = {
        "PGTZ": "UTC",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": run_mark.name(),
        "PGOPTIONS": session.program_options(major),
        **session.program_tls(settings),
    }
    return variables | ({"PGPASSWORD": settings.db_password} if settings.db_password else {})


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    digits = re.match(r"\d+", minor)
    return int(major), int(digits[0]) if digits else 0


def find(settings: Settings, major: int) -> Programs:
    """The programs of the server's major.

    A newer pg_dump would read the server too, but what it writes may not load into that server
    again (17's ``SET transaction_timeout`` fails in 16), so the majors must be equal.

    :raises DatabaseError: none is installed; the hint names the package.
    """
    if settings.db_container:
        return Programs(
            settings,
            "",
            _version(
                ["docker", "exec", settings.db_container, "pg_dump", "--version"],
                f"pg_dump in the container {settings.db_container}",
            ),
        )
    places = (
        [settings.pg_bin_dir]
        if settings.pg_bin_dir
        else [_PACKAGED.format(major=major), *sorted(glob.glob(_PACKAGED.format(major="*")))]
    )
    on_path = shutil.which("pg_dump")
    if on_path and not settings.pg_bin_dir:
        places.append(os.path.dirname(on_path))
    seen = {}
    for place in places:
        path = os.path.join(place, "pg_dump")
        if place in seen or not os.access(path, os.X_OK):
            continue
        seen[place] = _version([path, "--version"], path)
        if _numbers(seen[place])[0] == major:
            return Programs(settings, place, seen[place])
    have = ", ".join(f"{version} in {place}" for place, version in seen.items()) or "none"
    where = (
        f"backup_pg_bin_dir ({settings.pg_bin_dir})"
        if settings.pg_bin_dir
        else f"apt-get install postgresql-client-{major}, or run `ansible-playbook setup.yml`"
    )
    raise DatabaseError(
        f"Failed to find pg_dump {major}: the server is PostgreSQL {major}, installed here: {have}",
        f"Check {where}" if settings.pg_bin_dir else where,
    )


def _version(argv: list[str], what: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DatabaseError(f"Failed to run {what}: {error}", _INSTALL_ANEW) from None
    version = re.search(r"(\d+(?:\.\d+)?)", done.stdout)
    if done.returncode or not version:
        raise DatabaseError(
            f"Failed to run {what}: "
            + ((done.stderr or done.stdout).strip() or f"exit status {done.returncode}"),
            _INSTALL_ANEW,
        )
    return version[1]


class Process:
    """A program whose end is always seen: its status checked, its complaints kept.

    :param name: for messages: ``pg_dump``.
    """

    #: how much of the standard error is kept, bytes
    KEPT = 32_768

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self.name, self._complaints = name, bytearray()
        try:
            # a session of its own: Ctrl-C reaches us alone, and we end it in order
            self.child = subprocess.Popen(
                argv,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise DatabaseError(
                f"Failed to start {name}: {error.strerror}", _INSTALL_ANEW
            ) from None
        self._reader = threading.Thread(target=self._listen, daemon=True, name=f"{name}-stderr")
        with signals.hold:
            self._reader.start()

    def _listen(self) -> None:
        stderr = _piped(self.child.stderr)
        while data := stderr.read(65_536):
            self._complaints += data
            del self._complaints[: -self.KEPT]

    @property
    def stdin(self) -> IO[bytes]:
        """Where it reads; it was started with ``stdin=subprocess.PIPE``."""
        return _piped(self.child.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """What it writes; it was started with ``stdout=subprocess.PIPE``."""
        return _piped(self.child.stdout)

    @property
    def complaints(self) -> str:
        """The end of what it wrote to standard error."""
        return self._complaints.decode(errors="replace").strip()

    def wait(self) -> int:
        """Its exit status, after everything it said was read."""
        status = self.child.wait()
        self._reader.join()
        return status

    def check(self) -> None:
        """:raises DatabaseError: it did not end with 0; says what it complained of."""
        status = self.wait()
        if status:
            ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
            last = [line for line in self.complaints.splitlines() if line.strip()]
            first_error = next(
                (line for line in last if "ERROR" in line or "FATAL" in line or "error:" in line),
                last[-1] if last else "",
            )
            raise DatabaseError(
                f"{self.name} failed ({ended})"
                + (f": {first_error.strip()}" if first_error else ""),
                NO_CAUSE_KNOWN,
                passes=status < 0,  # somebody stopped it, or the memory ran out
            )

    def end(self) -> None:
        """Make sure that it is gone, whatever happened; no error."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.wait()
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream:
                stream.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _piped(stream: IO[bytes] | None) -> IO[bytes]:
    """:raises ValueError: a mistake of ours: no pipe was asked for."""
    if stream is None:
        raise ValueError("no pipe was asked for")
    return stream
