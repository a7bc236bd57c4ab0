"""Trusted, unsigned, of a stranger, wrong: one of four, and nothing makes a wrong one good."""

from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postgres_backup.signing import keys, signers, sshsig
from postgres_backup.signing.judge import STRANGER, TRUSTED, UNSIGNED, WRONG, judge
from tests.unit.signing import openssh

DATA = b'{"schema": 2}\n'


@pytest.fixture
def key(server):
    return keys.load_or_make(server)[0]


@pytest.fixture
def believed(server, key):
    return signers.load(server)


def test_what_this_server_signed_is_trusted(believed, key):
    found = judge(DATA, key.sign(DATA), "crm-1", believed)
    assert (found.kind, found.fingerprint) == (TRUSTED, key.public.fingerprint)
    assert found.says == f"It is signed by {key.public.fingerprint}, which is trusted for crm-1"


def test_what_nobody_signed_is_unsigned(believed):
    found = judge(DATA, None, "crm-1", believed)
    assert (found.kind, found.fingerprint, found.says) == (UNSIGNED, "", "It is not signed")


def test_the_word_of_one_server_is_not_that_of_another(believed, key):
    found = judge(DATA, key.sign(DATA), "shop", believed)
    assert (found.kind, found.fingerprint) == (STRANGER, key.public.fingerprint)
    assert found.says == f"It is signed by {key.public.fingerprint}, which is not trusted for shop"
    # a manifest may say any name
    odd = judge(DATA, key.sign(DATA), "{x}\n\x1b\ud800", believed)
    assert odd.kind == STRANGER
    assert odd.says.endswith(r"not trusted for {x}\n\x1b\ud800")


def test_the_key_of_another_is_a_strangers_until_it_is_listed(server, believed, tmp_path):
    path = openssh.make_key(tmp_path / "other")
    signature = openssh.sign(path, DATA)
    public = keys.PublicKey.of_line(path.with_suffix(".pub").read_text())
    found = judge(DATA, signature, "crm-1", believed)
    assert (found.kind, found.fingerprint) == (STRANGER, public.fingerprint)
    line = f'crm-1 valid-before="20270101Z" {public.line}\n'
    Path(server.trusted_signers_file).write_text(line)
    listed = signers.load(server)
    before, after = (datetime(year, 6, 1, tzinfo=timezone.utc) for year in (2026, 2027))
    assert judge(DATA, signature, "crm-1", listed, before).kind == TRUSTED
    assert judge(DATA, signature, "crm-1", listed, after).kind == STRANGER


def test_a_signature_that_is_not_of_these_bytes_is_wrong_whoever_made_it(believed, key):
    stranger = keys.SigningKey(Ed25519PrivateKey.generate())
    for signature in (
        key.sign(DATA + b" "),
        stranger.sign(DATA + b" "),
        b"",
        b"garbage",
        key.sign(DATA)[:-40],
    ):
        found = judge(DATA, signature, "crm-1", believed)
        assert (found.kind, found.fingerprint) == (WRONG, "")
        assert found.says.startswith(("The signature was not made", "Failed to read the signature"))


def test_a_signature_with_another_key_put_into_it_is_wrong(believed, key):
    stranger = keys.SigningKey(Ed25519PrivateKey.generate())
    blob = sshsig._dearmored(stranger.sign(DATA))
    forged = sshsig._armored(blob.replace(stranger.public.raw, key.public.raw))
    assert judge(DATA, forged, "crm-1", believed).kind == WRONG
