"""What scripts leave under a backup's name is read as what it is, or called by its name."""

import gzip
import io
import re
import subprocess
import tarfile

import pytest
import zstandard

from postgres_backup.errors import BadBackupError
from postgres_backup.stream.other_tools import HINTS, archive_head, unwrapped
from tests.documents import ROOT
from tests.unit.stream.dumps import HEADER, TRAILER
from tests.unit.stream.packing import pieces

PLAIN = HEADER + b"SELECT 1;\n" + TRAILER
CUSTOM = b"PGDMP\x01\x0e\x00" + bytes(600)


def tar(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as made:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        made.addfile(member, io.BytesIO(content))
    return file.getvalue()


TAR = tar("toc.dat", CUSTOM)


@pytest.mark.parametrize("name", [("plain", "gzip"), ("plain", "none"), ("custom", "none")])
@pytest.mark.parametrize("wrap", ["", "gzip", "zstd", "gzip gzip", "zstd gzip gzip"])
@pytest.mark.parametrize(
    ("inside", "kind"),
    [(PLAIN, "plain"), (CUSTOM, "archive"), (TAR, "archive")],
    ids=["plain", "custom", "tar"],
)
def test_what_can_be_read_is_read_whatever_it_is_called(name, wrap, inside, kind):
    body = inside
    for packer in wrap.split():
        body = gzip.compress(body) if packer == "gzip" else zstandard.compress(body)
    for step in (1, 1 << 20):
        content = unwrapped(pieces(body, step), *name)
        assert (content.kind, b"".join(content.chunks)) == (kind, inside)
        assert kind == "plain" or archive_head(content.head).startswith(b"PGDMP")


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\xef\xbb\xbf",
        b"\n-- dumped by a script: nightly\n\n",
        b"/*\n Note: made by hand\n*/\n",
        b"SET session_replication_role = replica;\n\\connect crm\n",
        b"begin;\n",
    ],
)
def test_what_may_stand_before_a_dump(before):
    assert unwrapped([before + PLAIN], "plain", "none").kind == "plain"


@pytest.mark.parametrize(
    ("before", "whose"),
    [
        (b"pg_dump: warning: there are circular foreign-key constraints\n", "of pg_dump"),
        (b"-- nightly\npg_dump: [archiver] it isn't so: 'x\n", "of pg_dump"),
        (b"the input device is not a TTY\n", "of docker"),
        (b"WARNING: the collation version has changed\n", "of another program"),
        (b"perl: warning: Setting locale failed.\n", "of another program"),
        (b" 10.5MiB 0:00:01 [ 9.8MiB/s] [==>  ]\r 12MiB 0:00:02\r", "progress bar"),
        (b"+ PGPASSWORD=secret pg_dump crm\n", "what a shell says"),
    ],
)
def test_messages_before_a_dump_are_called_so_and_not_quoted(before, whose):
    packed = gzip.compress(before + PLAIN)
    with pytest.raises(BadBackupError, match=f"{whose}.* stands before the dump") as caught:
        unwrapped(pieces(packed, 7), "plain", "gzip")
    assert [found["code"] for found in caught.value.findings] == ["LINES_BEFORE_DUMP"]
    assert caught.value.hint == HINTS["LINES_BEFORE_DUMP"]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "before",
    [
        b"pg_dump: last built-in OID is 16383\npg_dump: reading extensions\n",
        b"+ pg_dump -v\npg_dump: [archiver (db)] reading schemas\n",
    ],
)
def test_the_messages_of_a_verbose_one_are_among_the_rows_too(before):
    with pytest.raises(BadBackupError, match="messages of pg_dump --verbose stand in") as caught:
        unwrapped([before + PLAIN], "plain", "none")
    assert [found["code"] for found in caught.value.findings] == ["MESSAGES_IN_DUMP"]
    assert "Choose another" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "words", "hint"),
    [
        (b"BZh91AY&SY", "packed by bzip2", "bunzip2"),
        (b"\xfd7zXZ\0\0\4", "packed by xz", "unxz"),
        (b"\x04\x22\x4d\x18", "packed by lz4", "lz4cat"),
        (b"PK\x03\x04", "a ZIP file", "unzip -p"),
        (b"age-encryption.org/v1\n", "encrypted by age, and its name", ".age"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "encrypted by age as text", "age -d"),
        (b"-----BEGIN PGP MESSAGE-----\n", "encrypted by GnuPG", "gpg -d"),
        (b"Salted__\x12", "encrypted by openssl", "openssl"),
        (PLAIN.decode().encode("utf-16"), "UTF-16, as PowerShell writes it", "iconv -f UTF-16"),
        (b"-- MySQL dump 10.13\n", "a dump of MySQL", "another program"),
        (tar("dump/toc.dat", CUSTOM), "a tar of files", "pg_restore -f - FOLDER"),
    ],
)
def test_other_formats_are_called_by_their_names(body, words, hint):
    for name in (("plain", "gzip"), ("plain", "none"), ("custom", "none")):
        for made in (body, gzip.compress(body)):
            with pytest.raises(BadBackupError, match=words) as caught:
                unwrapped([made], *name)
            assert [found["code"] for found in caught.value.findings] == ["OTHER_FORMAT"]
            assert hint in caught.value.hint


def test_the_message_of_a_dump_that_failed_is_no_dump():
    with pytest.raises(BadBackupError, match="no dump in it, but a message of pg_dump") as caught:
        unwrapped([gzip.compress(b"pg_dump: error: connection failed\n")], "plain", "gzip")
    assert [found["code"] for found in caught.value.findings] == ["HEADER_MISSING"]


@pytest.mark.parametrize(
    ("body", "name", "code"),
    [
        (b"", ("plain", "gzip"), "COMPRESSION_TRUNCATED"),
        (b"<html>", ("plain", "gzip"), "COMPRESSION_CORRUPT"),
        (b"<html>", ("plain", "zstd"), "COMPRESSION_CORRUPT"),
        (b"QGDMP\x01\x0e", ("custom", "none"), "OTHER_FORMAT"),
        (b"", ("custom", "none"), "OTHER_FORMAT"),
    ],
)
def test_what_is_nothing_known_is_held_against_its_name(body, name, code):
    with pytest.raises(BadBackupError) as caught:
        unwrapped([body], *name)
    assert [found["code"] for found in caught.value.findings] == [code]


def test_the_documents_show_the_commands_of_the_hints():
    shown = (ROOT / "docs/cookbook.md").read_text().replace("\\|", "|")
    for code, hint in HINTS.items():
        for command in re.findall(r"gunzip < FILE \|.*?(?:> NEW|'(?=$))", hint):
            assert f"`{command}`" in shown, code


def test_a_database_is_taken_out_of_the_dump_of_an_old_server(tmp_path):
    r"""Before PostgreSQL 11 ``\connect`` stands before the header, and nothing says whose it is."""
    one = PLAIN.replace(b"SELECT 1", b"SELECT 'of crm'")
    cluster = b"--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE crm;\n\n%b%b"
    cluster %= (b"\\connect crm\n\n" + one, b"\\connect postgres\n\n" + PLAIN)
    (tmp_path / "FILE").write_bytes(gzip.compress(cluster))
    command = re.search(r"gunzip < FILE \|.*> NEW", HINTS["CLUSTER_DUMP"])[0]
    command = command.replace("NAME", "crm")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    assert gzip.decompress((tmp_path / "NEW").read_bytes()) == b"\\connect crm\n\n" + one
