"""Whom a server believes: what ssh-keygen reads in the same file, and an error where it would pass
over a line.
"""

import dataclasses
import os
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postgres_backup.errors import UsageError
from postgres_backup.signing import keys, signers, sshsig
from postgres_backup.signing.keys import PublicKey
from postgres_backup.signing.signers import Signers, line_of, parse, principal_of
from tests.properties import examples
from tests.unit.signing import openssh

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PublicKey(PRIVATE.public_key().public_bytes_raw())
OTHER = PublicKey(Ed25519PrivateKey.from_private_bytes(b"x" * 32).public_key().public_bytes_raw())
DATA = b"data"
SIGNED = sshsig.sign(DATA, KEY.raw, PRIVATE.sign)
NOW = datetime(2026, 7, 10, 12, 0, 0, tzinfo=timezone.utc)
#: a key of a kind that signs nothing of ours
ECDSA = (
    ec.derive_private_key(7, ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    .decode()
)


@pytest.fixture(scope="module", autouse=True)
def zone():
    """A machine that is not on UTC, and has a summer time, which OpenSSH does not ask for."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "EST5EDT,M3.2.0,M11.1.0"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def trusts(text: str, server_name: str = "crm-1", at: datetime = NOW) -> bool:
    return Signers("", frozenset(), parse(text, "the file")).trusts(server_name, KEY, at)


@pytest.mark.parametrize(
    ("line", "trusted"),
    [
        ("crm-1 {key}", True),
        ("  crm-1\t \t{key} a comment # of words\r", True),
        ("crm-2 {key}", False),
        ("crm-1 {other}", False),
        ("CRM-1 {key}", False),
        ("crm-2,crm-1 {key}", True),
        ('"crm 2,crm-1" {key}', True),
        ("crm-* {key}", True),
        ("crm-? {key}", True),
        ("crm-?? {key}", False),
        ("*,!crm-1 {key}", False),
        ("!crm-1,* {key}", False),
        ("!crm-2,* {key}", True),
        ("!crm-2 {key}", False),
        ("crm-1,, {key}", True),
        ("# crm-1 {key}", False),
        ("#crm-1 {key}", False),
        ('crm-1 namespaces="postgres-backup" {key}', True),
        ('crm-1 NameSpaces="git,postgres-*" {key}', True),
        ('crm-1 namespaces="git" {key}', False),
        ('crm-1 namespaces="" {key}', False),
        ('crm-1 namespaces="*,!postgres-backup" {key}', False),
        ('crm-1 namespaces="a\\"b c,postgres-backup" {key}', True),
        ("crm-1 cert-authority {key}", False),
        ('crm-1 cert-authority,namespaces="postgres-backup" {key}', False),
        ('crm-1 valid-after="20260710120000Z" {key}', True),
        ('crm-1 valid-after="20260710120001Z" {key}', False),
        ('crm-1 valid-before="20260710120000UTC" {key}', True),
        ('crm-1 valid-before="20260710115959z" {key}', False),
        ('crm-1 valid-after="20260709",valid-before="20260711" {key}', True),
        # five hours behind UTC, in the summer too
        ('crm-1 valid-after="202607100700" {key}', True),
        ('crm-1 valid-after="20260710070001" {key}', False),
        (f"crm-1 {ECDSA} an old one", False),
        ("crm-1 {key}\n\n# the end", True),
        ("crm-2 {key}\ncrm-1 cert-authority {key}\ncrm-1 {key}", True),
    ],
)
def test_a_line_means_what_it_means_to_ssh_keygen(tmp_path, line, trusted):
    text = line.format(key=KEY.line, other=OTHER.line)
    assert trusts(text) == trusted
    assert openssh.accepts(tmp_path, text, "crm-1", DATA, SIGNED, NOW) == trusted


@pytest.mark.parametrize(
    "line",
    [
        "crm-1",
        "{key} a comment",
        "crm-1 {key}".replace(" ", "\0", 1),
        "crm-1\r{key}",
        "crm-1 \x1b[2J {key}",
        "crm-1 ssh-ed25519",
        "crm-1 ssh-ed25519 AAAA",
        "crm-1 ssh-ed25519 {blob}x",
        "crm-1 ssh-ed25519 {blob}=",
        "crm-1 ssh-rsa {blob}",
        "crm-1 ssh-ed448 {blob}",
        "crm-1 {blob}",
        'crm"-1" {key}',
        '"crm-1"{key}',
        '"crm-1 {key}',
        'crm-1 namespaces="git {key}',
        "crm-1 namespaces=git {key}",
        'crm-1 namespaces="git",namespaces="postgres-backup" {key}',
        'crm-1 namespaces="postgres-backup", {key}',
        'crm-1 ,namespaces="postgres-backup" {key}',
        'crm-1 namespaces="postgres-backup" valid-after="20260101Z" {key}',
        'crm-1 from="10.0.0.1" {key}',
        "crm-1 no-touch-required {key}",
        "crm-1 cert-authorities {key}",
        'crm-1 valid-after="yesterday" {key}',
        'crm-1 valid-after="2026" {key}',
        'crm-1 valid-after="20261301Z" {key}',
        'crm-1 valid-after="20260230Z" {key}',
        'crm-1 valid-after="00000101Z" {key}',
        'crm-1 valid-after="19691231185959" {key}',
        'crm-1 valid-after="19700101Z" {key}',
        'crm-1 valid-after="20270101Z",valid-before="20260101Z" {key}',
        "x" * 1023 + " {key}",
    ],
)
def test_a_line_that_makes_no_sense_is_named_wherever_it_stands(line):
    line = line.format(key=KEY.line, blob=KEY.line.split()[1])
    for text in (f"crm-1 {KEY.line}\n{line}\n", f"# a comment\n{line}\ncrm-1 {KEY.line}"):
        with pytest.raises(UsageError, match=r"^Line 2 of the file makes no sense: ") as caught:
            parse(text, "the file")
        assert "ssh-ed25519 AAAA" in caught.value.hint


#: letters of which a name may be: ordinary ones, and all that mean something in the file
_LETTERS = "ab-.:=%#!*?,\"' \\ш"
_PATTERN = st.text("ab*?!,-%ш\\='", min_size=1, max_size=5)
_SPACE = st.sampled_from([" ", "  ", "\t", " \t "])
_STAMP = st.builds(
    "{:%Y%m%d%H%M%S}".format,
    st.sampled_from([-9999, -18000, -14400, -1, 0, 1, 14400, 18000, 9999]).map(
        lambda seconds: NOW + timedelta(seconds=seconds)
    ),
).flatmap(lambda text: st.sampled_from([text, text + "Z", text + "utc", text[:8], text[:12] + "Z"]))


@st.composite
def _options(draw) -> str:
    given = draw(
        st.permutations(["cert-authority", "namespaces", "valid-after", "valid-before"]).map(
            lambda names: names[:2]
        )
    )
    said = []
    for name in given[: draw(st.integers(0, 2))]:
        if name == "cert-authority":
            said.append(name)
        elif name == "namespaces":
            listed = draw(st.lists(st.sampled_from(OUR_SPACES), min_size=1, max_size=3))
            said.append(f'{draw(st.sampled_from([name, name.upper()]))}="{",".join(listed)}"')
        else:
            said.append(f'{name}="{draw(_STAMP)}"')
    return ",".join(said)


OUR_SPACES = ["postgres-backup", "git", "postgres-*", "!git", "!postgres-backup", '\\"x y', "*"]


@st.composite
def _file(draw) -> str:
    """Lines that make sense; only an end before the beginning may be among them."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 9)) == 0:
            lines.append(draw(st.sampled_from(["", " \t", "# a", "  #x", f"#a {KEY.line}"])))
            continue
        names = draw(_PATTERN)
        if draw(st.booleans()):
            names = f'"{names}{draw(st.sampled_from(["", ",a b", "#"]))}"'
        parts = [
            draw(st.sampled_from(["", "", " "])) + names,
            draw(_options()),
            draw(st.sampled_from([KEY.line, KEY.line, OTHER.line, ECDSA])),
            draw(st.sampled_from(["", "", "comment", '"a b'])),
        ]
        lines.append("".join(part + draw(_SPACE) for part in parts if part))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))


def _agree(folder: Path, text: str, server_name: str) -> bool:
    """Our answer, which is that of ssh-keygen; False where a line makes no sense to us."""
    try:
        lines = parse(text, "the file")
    except UsageError:
        return False
    ours = Signers("", frozenset(), lines).trusts(server_name, KEY, NOW)
    theirs = openssh.accepts(folder, text, principal_of(server_name), DATA, SIGNED, NOW)
    assert ours == theirs, (text, server_name)
    return True


@pytest.mark.hypothesis
@settings(max_examples=examples(40))
@given(text=_file(), name=st.text(_LETTERS, min_size=1, max_size=3) | st.sampled_from(["a", "ab"]))
def test_any_file_that_makes_sense_has_one_meaning(tmp_path_factory, text, name):
    folder = tmp_path_factory.getbasetemp()
    assert _agree(folder, text, name) or ("valid-after" in text and "valid-before" in text)


@pytest.mark.hypothesis
@settings(max_examples=examples(25))
@given(text=_file(), data=st.data())
def test_a_file_with_a_fault_is_an_error_or_has_one_meaning(tmp_path_factory, text, data):
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 3)))
    piece = data.draw(st.text('a"\\, \t=#!*\r\n', max_size=3))
    _agree(tmp_path_factory.getbasetemp(), text[:at] + piece + text[end:], "a")


@pytest.mark.hypothesis
@settings(max_examples=examples(60))
@given(st.text(_LETTERS, max_size=5), st.text(_LETTERS, max_size=5))
@example("a b", "a%20b")
@example("\ud800", "\ud801")
@example("two\nlines", "tab\there")
def test_two_servers_never_have_one_name_in_the_file(one, two):
    assert (principal_of(one) == principal_of(two)) == (one == two)
    if one:
        listed = Signers("", frozenset(), parse(line_of(one, KEY), "the file"))
        assert listed.trusts(one, KEY)
        assert not listed.trusts(one, OTHER)
        assert listed.trusts(two, KEY) == (one == two)


def test_ordinary_names_are_as_they_are_and_others_can_be_typed(tmp_path):
    for name in ("crm-1", "db1.example.org", "школа", "a=b", "root@host", "it's"):
        assert principal_of(name) == name
    assert principal_of('a b,"*?!#%') == "a%20b%2C%22%2A%3F%21%23%25"
    assert principal_of("a\tb\n") == "a%09b%0A"
    for name in ("школа", 'my "db", 2!', "#1"):
        text = line_of(name, KEY) + "\n"
        assert trusts(text, name)
        assert openssh.accepts(tmp_path, text, principal_of(name), DATA, SIGNED)


@pytest.mark.hypothesis
@settings(max_examples=examples(100))
@given(st.text("ab", max_size=6), st.text("ab*?", max_size=6))
@example("aabaab", "*ab?ab*")
@example("abab", "*a?")
def test_a_pattern_fits_what_it_says(name, pattern):
    said = "".join({"*": ".*", "?": "."}.get(letter, letter) for letter in pattern)
    assert signers._fits(name.encode(), pattern.encode()) == bool(re.fullmatch(said, name))


def test_a_pattern_of_many_stars_is_answered_at_once():
    names = "*a" * 400 + "b"
    before = time.process_time()
    assert not trusts(f"{names} {KEY.line}", "a" * 2000)
    assert time.process_time() - before < 5


def test_options_and_quotes_without_end_are_answered_at_once():
    before = time.process_time()
    for piece in ('\\"', '"', "\\", 'a="\\"', "a ", " ", 'namespaces="a",'):
        with pytest.raises(UsageError):
            parse("crm-1 " + piece * 20_000 + "\x80", "the file")
    assert time.process_time() - before < 5


def test_without_a_file_a_server_believes_itself_alone(server):
    key, _ = keys.load_or_make(server)
    found = signers.load(server)
    assert found.trusts("crm-1", key.public)
    assert not found.trusts("crm-2", key.public)
    assert not found.trusts("crm-1", KEY)
    assert not found.trusts("", key.public)


def test_an_old_key_of_its_own_is_believed_until_its_line_is_taken_away(server):
    first, _ = keys.load_or_make(server)
    second = keys.rotate(server)
    found = signers.load(server)
    assert found.trusts("crm-1", first.public)
    assert found.trusts("crm-1", second.public)
    assert not found.trusts("crm-2", first.public)
    Path(server.signing_key_file + ".old.pub").write_text("")
    assert not signers.load(server).trusts("crm-1", first.public)


def test_the_file_says_whom_else_a_server_believes(server):
    file = Path(server.trusted_signers_file)
    file.write_text(f"{line_of('crm-1', OTHER)}\n{line_of('shop', KEY)}\n")
    found = signers.load(server)
    assert found.trusts("crm-1", OTHER)
    assert found.trusts("shop", KEY)
    assert not found.trusts("crm-1", KEY)
    assert not found.trusts("shop", OTHER)
    # whose name is another's has that one's keys in the file, and no more
    assert not signers.load(dataclasses.replace(server, server_name="")).trusts("", KEY)


@pytest.mark.parametrize(
    ("data", "mode", "says"),
    [
        (b"# fine\n\ncrm-1 nonsense\n", 0o644, r"Line 3 of .*trusted_signers makes no sense"),
        (b"# fine\ncrm-1 \xff\n", 0o644, r"Line 2 of .*trusted_signers makes no sense: .*UTF-8"),
        (b"", 0o664, "Others than its owner may write"),
        (b"", 0o646, "Others than its owner may write"),
        (b"#" * 1024 * 1024 + b"#", 0o644, "longer than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_believed_is_an_error(server, data, mode, says):
    file = Path(server.trusted_signers_file)
    file.write_bytes(data)
    file.chmod(mode)
    with pytest.raises(UsageError, match=says) as caught:
        signers.load(server)
    assert caught.value.hint
