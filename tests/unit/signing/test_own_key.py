"""What others are told of a server's key, and nothing else of it."""

import dataclasses
from pathlib import Path

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.signing import keys, own_key, signers
from tests.unit.signing import openssh


def test_it_is_made_once_and_replaced_when_somebody_wants_it(server, tmp_path):
    first = own_key.own_key(server)
    assert (first["changed"], first["replaced"], first["principal"]) == (True, "", "crm-1")
    assert first["public_keys"] == [first["public_key"]] == [keys.load(server).public.line]
    again = own_key.own_key(server)
    assert again == {**first, "changed": False}
    signature = keys.load(server).sign(b"data")
    assert openssh.accepts(tmp_path, again["trusted_signers"], "crm-1", b"data", signature)

    second = own_key.own_key(server, rotate=True)
    assert (second["changed"], second["replaced"]) == (True, first["fingerprint"])
    third = own_key.own_key(server, rotate=True)
    assert third["public_keys"] == [
        key["public_key"] for key in (third, second, first)
    ]  # newest first
    assert len({key["fingerprint"] for key in (first, second, third)}) == 3


def test_check_mode_touches_nothing_and_says_what_would_come(server):
    none = own_key.own_key(server, check=True)
    assert (none["changed"], none["public_key"], none["public_keys"]) == (True, "", [])
    folder = Path(server.signing_key_file).parent
    assert list(folder.iterdir()) == []
    made = own_key.own_key(server)
    before = Path(server.signing_key_file).read_bytes()
    assert own_key.own_key(server, check=True) == {**made, "changed": False}
    assert own_key.own_key(server, rotate=True, check=True) == made
    assert Path(server.signing_key_file).read_bytes() == before


def test_it_says_so_to_a_person_without_the_private_half(server):
    odd = dataclasses.replace(server, server_name="o d\nd")
    assert own_key.lines(own_key.own_key(odd, check=True)) == ["o%20d%0Ad: would get a signing key"]
    shown = own_key.lines(made := own_key.own_key(odd))
    assert shown[0] == f"o%20d%0Ad: got its signing key, {made['fingerprint']}"
    assert shown[1] == f"Its public half: {made['public_key']}"
    assert shown[2].endswith(f": {signers.line_of('o d' + chr(10) + 'd', keys.load(odd).public)}")
    assert own_key.lines(own_key.own_key(odd))[0].endswith(f": signs with {made['fingerprint']}")
    would = own_key.lines(own_key.own_key(odd, rotate=True, check=True), check=True)
    assert would[0].endswith(f": would sign with a new key in the place of {made['fingerprint']}")
    new = own_key.own_key(odd, rotate=True)
    after = f"{new['fingerprint']}; what {made['fingerprint']} signed stays good"
    assert own_key.lines(new)[0].endswith(f": signs with a new key, {after}")
    secret = Path(odd.signing_key_file).read_text().split("\n")[1:-2]
    assert not any(line in "\n".join([*map(str, new.values()), *shown]) for line in secret)


def test_a_key_that_others_may_read_is_neither_shown_nor_replaced(server):
    own_key.own_key(server)
    Path(server.signing_key_file).chmod(0o640)
    for how in ({}, {"rotate": True}, {"check": True}):
        with pytest.raises(UsageError, match="may be read"):
            own_key.own_key(server, **how)
