"""What we sign OpenSSH accepts, and the other way round; what is anything else is refused."""

import contextlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postgres_backup.errors import BadBackupError
from postgres_backup.signing import sshsig
from postgres_backup.signing.keys import PublicKey
from postgres_backup.signing.signers import line_of
from tests.properties import examples
from tests.unit.signing import openssh

DATA = b'{"schema": 2, "name": "x"}\n'
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
SIGNED = sshsig.sign(DATA, PUBLIC, PRIVATE.sign)
BLOB = sshsig._dearmored(SIGNED)
KEY, NAME, RESERVED, HASH, VALUE = sshsig._unpacked(BLOB[10:], 5)


def packed(*strings: bytes, magic: bytes = b"SSHSIG\0\0\0\1") -> bytes:
    return sshsig._armored(magic + sshsig._packed(*strings))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A key that OpenSSH has made."""
    return openssh.make_key(tmp_path_factory.mktemp("ssh") / "key")


@pytest.mark.parametrize("size", [0, 1, 3000])
def test_what_we_sign_ssh_keygen_accepts_and_nothing_else_of_it(tmp_path, size):
    data = random.Random(size).randbytes(size)
    signature = sshsig.sign(data, PUBLIC, PRIVATE.sign)
    allowed = line_of("crm-1", PublicKey(PUBLIC))
    assert openssh.accepts(tmp_path, allowed, "crm-1", data, signature)
    assert not openssh.accepts(tmp_path, allowed, "crm-2", data, signature)
    assert not openssh.accepts(tmp_path, allowed, "crm-1", data + b"x", signature)
    changed = sshsig._armored(flipped(sshsig._dearmored(signature), -1))
    assert not openssh.accepts(tmp_path, allowed, "crm-1", data, changed)


def test_what_ssh_keygen_signs_we_accept_and_nothing_else_of_it(pair):
    for options in ([], ["-O", "hashalg=sha256"], ["-O", "hashalg=sha512"]):
        armored = openssh.sign(pair, DATA, *options)
        found = sshsig.parse(armored)
        found.require(DATA)
        assert found.hash_name == ("sha256" if "hashalg=sha256" in options else "sha512")
        assert PublicKey(found.public) == PublicKey.of_line(pair.with_suffix(".pub").read_text())
        with pytest.raises(sshsig.SignatureError, match="not made of these bytes"):
            found.require(flipped(DATA, 3))


def test_a_signature_has_one_form_down_to_the_last_byte(pair, tmp_path):
    """Ed25519 leaves no choice, and neither does the armor."""
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    private = load_ssh_private_key(pair.read_bytes(), None)
    public = private.public_key().public_bytes_raw()
    assert sshsig.sign(DATA, public, private.sign) == openssh.sign(pair, DATA)
    assert len(SIGNED) < 320


def test_a_byte_changed_anywhere_is_refused_by_both(tmp_path):
    allowed = line_of("crm-1", PublicKey(PUBLIC))
    for at in range(len(BLOB)):
        changed = sshsig._armored(flipped(BLOB, at))
        with pytest.raises(sshsig.SignatureError):
            sshsig.parse(changed).require(DATA)
        if at % 20 == 0:
            assert not openssh.accepts(tmp_path, allowed, "crm-1", DATA, changed)


@pytest.mark.parametrize(
    ("armored", "says"),
    [
        (b"", "begin and end with the lines"),
        (BLOB, "begin and end with the lines"),
        (SIGNED + b"\n", "begin and end with the lines"),
        (b" " + SIGNED, "begin and end with the lines"),
        (SIGNED + SIGNED, "base64 is broken"),
        (SIGNED.replace(b"\n", b"\r\n"), "begin and end with the lines"),
        (SIGNED[:60] + b" " + SIGNED[60:], "base64 is broken"),
        (SIGNED[:60] + "ш".encode() + SIGNED[60:], "base64 is broken"),
        (SIGNED[:60] + b"\n" + SIGNED[60:], "lines are not as long"),
        (sshsig._BEGIN + SIGNED[30:-29].replace(b"\n", b"") + sshsig._END, "not as long"),
        (sshsig._BEGIN + sshsig._END, "does not begin as"),
        (sshsig._BEGIN + b"A===" + sshsig._END, "base64 is broken"),
        (sshsig._BEGIN + b"U1NIU0lHAAAAAR==" + sshsig._END, "base64 is broken"),
        (b"x" * 4097, "longer than 4096 bytes"),
        (sshsig._armored(b"SSHSIG\0\0"), "does not begin as"),
        (sshsig._armored(b"SSHSIH" + BLOB[6:]), "does not begin as"),
        (packed(KEY, NAME, RESERVED, HASH, VALUE, magic=b"SSHSIG\0\0\0\2"), "of version 2"),
        (sshsig._armored(BLOB[:-1]), "it is cut"),
        (sshsig._armored(BLOB + b"\0"), "after its end"),
        (packed(KEY, b"git", RESERVED, HASH, VALUE), "made for 'git', not for postgres-backup"),
        (packed(KEY, b"\x1b[2J\xff\n", RESERVED, HASH, VALUE), r"made for '\\x1b\[2J\\ufffd\\n'"),
        (packed(KEY, NAME + b"\0", RESERVED, HASH, VALUE), "not for postgres-backup"),
        (packed(KEY, NAME, b"x", HASH, VALUE), "must be empty"),
        (packed(KEY, NAME, RESERVED, b"md5", VALUE), "the hash 'md5'"),
        (packed(KEY, NAME, RESERVED, b"\xff", VALUE), "the hash"),
        (packed(b"", NAME, RESERVED, HASH, VALUE), "it is cut"),
        (packed(KEY + b"x", NAME, RESERVED, HASH, VALUE), "after its end"),
        (packed(KEY.replace(b"ed25519", b"ed25518"), NAME, RESERVED, HASH, VALUE), "its key is"),
        (packed(sshsig.key_blob(PUBLIC[1:]), NAME, RESERVED, HASH, VALUE), "its key is"),
        (packed(KEY, NAME, RESERVED, HASH, VALUE[:-1]), "it is cut"),
        (packed(KEY, NAME, RESERVED, HASH, sshsig._packed(b"ssh-rsa", b"x" * 64)), "'ssh-rsa'"),
        (packed(KEY, NAME, RESERVED, HASH, sshsig._packed(b"ssh-ed25519", b"x" * 65)), "length"),
        (packed(KEY, NAME, RESERVED, HASH), "it is cut"),
    ],
)
def test_what_is_no_signature_of_ours_is_refused_in_one_sentence(armored, says):
    with pytest.raises(sshsig.SignatureError, match=says) as caught:
        sshsig.parse(armored)
    assert isinstance(caught.value, BadBackupError)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_a_field_that_ssh_keygen_passes_over_is_not_passed_over_here(tmp_path):
    """Else whoever writes the bucket could put words into a signature that is believed."""
    changed = packed(KEY, NAME, b"words of a stranger", HASH, VALUE)
    assert openssh.accepts(tmp_path, line_of("a", PublicKey(PUBLIC)), "a", DATA, changed)
    with pytest.raises(sshsig.SignatureError):
        sshsig.parse(changed)


@pytest.mark.hypothesis
@settings(max_examples=examples(60))
@given(st.data())
def test_no_bytes_but_the_right_ones_are_a_signature(data):
    """A piece cut out, put in, doubled, in the armor or under it: one error, or the same again."""
    whole = data.draw(st.sampled_from([SIGNED, BLOB]))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    piece = data.draw(st.binary(max_size=8) | st.just(whole[start:end] * 2))
    mangled = whole[:start] + piece + whole[end:]
    armored = mangled if whole is SIGNED else sshsig._armored(mangled)
    try:
        sshsig.parse(armored).require(DATA)
    except sshsig.SignatureError:
        assert armored != SIGNED
    else:
        assert armored.removesuffix(b"\n") == SIGNED.removesuffix(b"\n")


@pytest.mark.hypothesis
@settings(max_examples=examples(60))
@given(st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=6))
@example(b"\xff" * 200, [b""] * 5)
def test_any_bytes_are_answered_with_a_signature_or_the_one_error(junk, strings):
    head = b"SSHSIG\0\0\0\1"
    for blob in (junk, head + junk, head + sshsig._packed(*strings), BLOB[:120] + junk):
        for armored in (blob, sshsig._armored(blob), sshsig._BEGIN + blob + sshsig._END):
            with contextlib.suppress(sshsig.SignatureError):
                found = sshsig.parse(armored)
                assert (len(found.public), len(found.value)) == (32, 64)
