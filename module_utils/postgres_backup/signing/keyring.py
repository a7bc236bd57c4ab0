"""The public halves of all servers on the machine that playbooks are typed on: a file for each
server, beside the inventory, and the list of those that one of them believes.

A file has a key a line, the newest first. One that is no longer to be believed gets a ``#`` before
it: it is neither believed nor added again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TypedDict

from ..errors import UsageError
from ..machine.files import read_bounded, replace_file
from ..text import printable
from .keys import MAX_BYTES, PublicKey
from .signers import line_of, principal_of

_SUFFIX = ".pub"
_HEAD = (
    "# Whom this server believes, made by `ansible-playbook setup.yml` of the public keys beside "
    "the\n# inventory (inventory/keys); what is changed here is lost at its next run.\n"
)


class Kept(TypedDict):
    """The file of a server's public keys, and the fingerprints of those that were added."""

    changed: bool
    file: str
    added: list[str]


class Believed(TypedDict):
    """The servers that are believed, and the list that says so, OpenSSH's ``allowed_signers``."""

    servers: list[str]
    trusted_signers: str


def file_of(folder: str, server_name: str) -> str:
    """The file of a server: its principal, with what a file's name cannot have as ``%2F``."""
    name = principal_of(server_name).replace("/", "%2F")
    if name.startswith("."):  # it would be hidden
        name = f"%2E{name[1:]}"
    return os.path.join(folder, name + _SUFFIX)


def keep(
    folder: str, server_name: str, public_keys: Sequence[str], check: bool = False
) -> tuple[Kept, dict[str, str]]:
    """Put keys of a server before those that its file has.

    :param public_keys: newest first, each as OpenSSH writes it.
    :return: what was done, and ``before`` and ``after`` of the file.
    :raises UsageError: one of them is none, or the file cannot be read or written.
    """
    path = file_of(folder, server_name)
    with _in_words(path):
        if public_keys and not check:
            os.makedirs(folder, 0o755, exist_ok=True)
        with _alone(folder):
            before = _read(path)
            known = set(before.split())
            keys = dict.fromkeys(_keys(public_keys, path))
            new = [key for key in keys if key.line.split()[1] not in known]
            comment = f"postgres-backup {printable(server_name)}"
            after = "".join(f"{key.line} {comment}\n" for key in new) + before
            if new and not check:
                replace_file(path, after.encode("utf-8", "surrogateescape"), 0o644)
    kept: Kept = {
        "changed": bool(new),
        "file": path,
        "added": [key.fingerprint for key in new],
    }
    return kept, {"before": before, "after": after}


def believed(
    folder: str, server_name: str, trusted: Sequence[str], own: str, check: bool = False
) -> Believed:
    """Whom a server believes.

    :param server_name: its own name: its own keys, those before it was rebuilt among them, always
        count.
    :param trusted: names of servers; none: all that have a file.
    :param own: what its own file says, or would say.
    :param check: that one of them has no key yet is no error: it may get one in the same run.
    :raises UsageError: there is no key of one of them, or a file makes no sense.
    """
    path = file_of(folder, server_name)
    with _in_words(folder):
        texts = {file: _read(file) for file in _files(folder)} | ({path: own} if own else {})
    found: dict[str, list[PublicKey]] = {}
    for file, text in sorted(texts.items()):
        whose = urllib.parse.unquote(os.path.basename(file).removesuffix(_SUFFIX))
        found.setdefault(whose, []).extend(_keys(text.split("\n"), file))
    missing = [name for name in trusted if not found.get(name) and name != server_name]
    if missing and not check:
        raise UsageError(
            f"There is no public key of {printable(missing[0])} in {folder}",
            "Set that server up first (ansible-playbook setup.yml), or take it out of "
            "backup_trusted_signers",
        )
    wanted = {*trusted, server_name} if trusted else set(found)
    servers = sorted(name for name in wanted if found.get(name))
    told = [line_of(name, key) for name in servers for key in dict.fromkeys(found[name])]
    return {"servers": servers, "trusted_signers": _HEAD + "".join(f"{one}\n" for one in told)}


def lines(kept: Kept, believed: Believed, check: bool = False) -> list[str]:
    """Both for a person.

    :param check: nothing was written.
    """
    told = []
    if kept["changed"]:
        added = ", ".join(kept["added"])
        told = [f"{kept['file']}: would get {added}"]
        if not check:
            told = [f"{kept['file']}: got {added}. Commit it: it says whose backups are believed"]
    servers = ", ".join(printable(name) for name in believed["servers"])
    return [*told, f"Believed: {servers or 'nobody but itself'}"]


@contextlib.contextmanager
def _in_words(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"Failed to read or write the public keys {path}: {error.strerror}",
            "They lie beside the inventory, on the machine that the playbook is typed on",
        ) from None


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Two servers of one name are set up at the same time, and have one file."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # nothing is written: in check mode, or where there are no keys
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _files(folder: str) -> list[str]:
    """The files of all servers."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [
        os.path.join(folder, name)
        for name in names
        if name.endswith(_SUFFIX) and not name.startswith(".")
    ]


def _read(path: str) -> str:
    """What a file says; nothing where there is none."""
    try:
        data, _mode = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return ""
    text = data.decode("utf-8", "surrogateescape")
    return text if text.endswith("\n") or not text else text + "\n"


def _keys(texts: Sequence[str], path: str) -> list[PublicKey]:
    """The keys of lines of a file, or of those that are to stand there."""
    found = []
    for number, text in enumerate(texts, 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            found.append(PublicKey.of_line(text))
        except ValueError as error:
            raise UsageError(
                f"Line {number} of {path} is not a public key: {error}",
                "Take the line away; a good one begins with ssh-ed25519 AAAA",
            ) from None
    return found
