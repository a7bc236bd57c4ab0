"""Whom this server believes: the file ``trusted_signers``, in OpenSSH's format ``allowed_signers``.

A line is ``NAMES [OPTIONS] ssh-ed25519 AAAA... [COMMENT]``. It is understood as ``ssh-keygen`` of
OpenSSH does (``sshsig.c``, ``match.c``), with one difference: a line that makes no sense is an
error here, where ``ssh-keygen`` passes over it.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable
from datetime import datetime, timezone

from ..errors import UsageError
from ..machine.files import read_bounded
from ..settings import Settings
from . import keys, sshsig
from .keys import PublicKey

#: bytes of the file at most: some ten thousand servers
MAX_BYTES = 1024 * 1024
#: bytes of one pattern at most; ssh-keygen passes over a line with a longer one
_MAX_PATTERN = 1022
#: letters that a name in the file cannot have, or that mean something else there
_NOT_ORDINARY = re.compile(r"""[\x00-\x20\x7f"#%!*?,\ud800-\udfff]""")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LINE = re.compile(
    r"""[ \t]* (?: "(?P<quoted>[^"]*)" | (?P<names>[^ \t"]+) ) [ \t]+
    (?: (?P<options> (?: [^ \t"\\] | "(?:[^"\\]|\\"|\\(?!"))*" )+ ) [ \t]+ )??
    (?P<kind>[A-Za-z0-9@.-]+) [ \t]+ (?P<blob>[A-Za-z0-9+/]+=*) (?: [ \t].* )?""",
    re.VERBOSE,
)
_OPTION = re.compile(
    r"""(?P<flag>cert-authority)
    | (?P<name>namespaces|valid-after|valid-before) = "(?P<value>(?:[^"\\]|\\"|\\(?!"))*)" """,
    re.VERBOSE | re.IGNORECASE,
)
_MOMENT = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2})?)?(Z|UTC)?", re.I
)
#: kinds of keys that may stand there, for other programs; none of them signs for us
_OTHER_KINDS = re.compile(
    r"(ssh-rsa|ssh-dss|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256))"
    r"(-cert-v01)?(@openssh\.com)?|ssh-ed25519-cert-v01@openssh\.com"
)


def principal_of(server_name: str) -> str:
    """How a server is called in the file and to ``ssh-keygen -I``: its name, with the letters that
    cannot stand there, and the percent sign, as ``%20``.
    """
    return _NOT_ORDINARY.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")),
        server_name,
    )


def line_of(server_name: str, key: PublicKey) -> str:
    """The line that makes a key trusted for a server, without its end."""
    return f'{principal_of(server_name)} namespaces="{sshsig.NAMESPACE}" {key.line}'


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the file that may make a key trusted.

    :param names: patterns of the servers that it is for.
    :param after, before: seconds since 1970 between which it holds, both included; None: always.
    """

    names: tuple[bytes, ...]
    key: PublicKey
    after: int | None = None
    before: int | None = None

    def holds(self, principal: bytes, key: PublicKey, now: int) -> bool:
        """Whether it makes this key trusted for that server, at that second."""
        return (
            key == self.key
            and (self.after is None or now >= self.after)
            and (self.before is None or now <= self.before)
            and _listed(principal, self.names)
        )


@dataclasses.dataclass(frozen=True)
class Signers:
    """Whom a server believes.

    :param server_name: its own name.
    :param own: its own keys, whose word is its own.
    :param lines: what the file says.
    """

    server_name: str
    own: frozenset[PublicKey] = frozenset()
    lines: tuple[Line, ...] = ()

    def trusts(self, server_name: str, key: PublicKey, now: datetime | None = None) -> bool:
        """Whether what this key signed is that server's word.

        :param now: the time at which it must be valid; None: the time now.
        """
        if not server_name:
            return False
        if server_name == self.server_name and key in self.own:
            return True
        second = int((now or datetime.now(timezone.utc)).timestamp())
        principal = principal_of(server_name).encode()
        return any(line.holds(principal, key, second) for line in self.lines)


def load(settings: Settings) -> Signers:
    """Whom this server believes; itself alone where there is no file.

    :raises UsageError: the file cannot be read, others may write it, or a line of it makes no
        sense; or this server's own key cannot be used.
    """
    own = keys.own_public_keys(settings)
    return Signers(settings.server_name, own, _read(settings.trusted_signers_file))


def parse(text: str, source: str) -> tuple[Line, ...]:
    """The lines of a file that make an Ed25519 key trusted for what is ours.

    Lines for authorities, for other namespaces and for other kinds of keys are none of these.

    :param source: the file, for errors.
    :raises UsageError: a line makes no sense; file and number are named.
    """
    found: list[Line] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            read = _line(line.removesuffix("\r"))
        except ValueError as error:
            raise UsageError(
                f"Line {number} of {source} makes no sense: {error}",
                f'A line is: SERVER namespaces="{sshsig.NAMESPACE}" {sshsig.KEY_TYPE} AAAA...; '
                "correct it, or take it away",
            ) from None
        if read is not None:
            found.append(read)
    return tuple(found)


def _read(path: str) -> tuple[Line, ...]:
    if not path:
        return ()
    try:
        data, mode = read_bounded(path, MAX_BYTES)
        text = data.decode("utf-8")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(
            f"Failed to read whom to trust, {path}: {error.strerror}",
            "It must be readable by the user that backs up: ansible-playbook setup.yml",
        ) from None
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"Line {number} of {path} makes no sense: it is not UTF-8", "Write it anew"
        ) from None
    keys.require_owner_writes(path, mode)
    return parse(text, path)


def _line(text: str) -> Line | None:
    bare = text.strip(" \t")
    if not bare or bare.startswith("#"):
        return None
    if _CONTROL.search(text):
        raise ValueError("it has letters that cannot be seen")
    found = _LINE.fullmatch(text)
    if not found:
        raise ValueError("it is not names, options and a key")
    names = _patterns(found["names"] or found["quoted"] or "")
    counts, after, before = _options(found["options"])
    kind, blob = found["kind"], sshsig.decoded(found["blob"].encode())
    if kind != sshsig.KEY_TYPE:
        # its blob begins with its kind, as every key's does
        if not (_OTHER_KINDS.fullmatch(kind) and blob[4:].startswith(kind.encode())):
            raise ValueError("it has no key")
        return None
    line = Line(names, PublicKey(sshsig.key_of(blob)), after, before)
    return line if counts else None


def _patterns(text: str) -> tuple[bytes, ...]:
    patterns = tuple(text.encode().split(b","))
    if any(len(pattern) > _MAX_PATTERN for pattern in patterns):
        raise ValueError(f"it has a name of more than {_MAX_PATTERN} bytes")
    return patterns


def _options(text: str | None) -> tuple[bool, int | None, int | None]:
    """Whether they let a line count for our namespace, and the seconds in which they let it."""
    counts = True
    given: dict[str, str] = {}
    at = 0
    while text is not None and at <= len(text):
        found = _OPTION.match(text, at)
        if not found or (found.end() < len(text) and text[found.end()] != ","):
            raise ValueError("it has an option that is not known")
        at = found.end() + 1
        if found["flag"]:
            counts = False  # it speaks for others' certificates, and signs nothing itself
            continue
        name = found["name"].lower()
        if name in given:
            raise ValueError(f"it says {name} twice")
        given[name] = found["value"].replace('\\"', '"')
    if "namespaces" in given:
        wanted = _patterns(given["namespaces"])
        counts = counts and _listed(sshsig.NAMESPACE.encode(), wanted)
    after, before = (
        _moment(given[name]) if name in given else None for name in ("valid-after", "valid-before")
    )
    if after is not None and before is not None and before <= after:
        raise ValueError("it ends before it begins")
    return counts, after, before


def _moment(text: str) -> int:
    """Seconds since 1970 of ``YYYYMMDD[HHMM[SS]][Z]``; without Z the time is that of this machine,
    never that of a summer (``parse_absolute_time`` of OpenSSH).
    """
    found = _MOMENT.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:20]!r} is not a time such as 20270131Z")
    if text < "1971":  # and mktime() cannot tell -1 from a failure
        raise ValueError(f"{text} is before any signature")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    at = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    local = (year, month, day, hour, minute, second, 0, 0, 0)
    return int(at.timestamp() if found[7] else time.mktime(local))


def _listed(name: bytes, patterns: Iterable[bytes]) -> bool:
    """Whether a name is in a list: by one of its patterns, and by none that begins with ``!``."""
    listed = False
    for pattern in patterns:
        if pattern.startswith(b"!"):
            if _fits(name, pattern[1:]):
                return False
        else:
            listed = listed or _fits(name, pattern)
    return listed


def _fits(name: bytes, pattern: bytes) -> bool:
    """Whether a pattern of ``*`` (any bytes) and ``?`` (one byte) is the whole name.

    A star that took too little takes one more; none before it needs to be asked again. So it never
    takes longer than the product of both lengths.
    """
    at = here = 0
    star = taken = -1
    while at < len(name):
        letter = pattern[here : here + 1]
        if letter == b"*":
            star, taken = here, at
            here += 1
        elif letter and letter in (b"?", name[at : at + 1]):
            at += 1
            here += 1
        elif star >= 0:
            taken += 1
            at, here = taken, star + 1
        else:
            return False
    return not pattern[here:].strip(b"*")
