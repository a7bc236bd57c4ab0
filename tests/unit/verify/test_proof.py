"""What was read must have an end, and be what the manifest says."""

import pytest

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.manifest import tables_of
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.clock import utc_now
from postgres_backup.errors import BadBackupError
from postgres_backup.stream.inspector import Inspector, Report
from postgres_backup.verify.proof import require_whole

DUMP = b"""--
-- PostgreSQL database dump
--

COPY public.t (id) FROM stdin;
1
2
\\.


--
-- PostgreSQL database dump complete
--

"""


def read(dump: bytes) -> Report:
    inspector = Inspector()
    inspector.feed(dump)
    return inspector.finish()


def backup(**fields: object) -> Backup:
    return Backup(BackupName(utc_now()), Layout("p"), 1, dict(fields) or None)


def test_a_whole_dump_that_is_what_its_manifest_says():
    require_whole(backup(tables=tables_of(read(DUMP))), read(DUMP))
    require_whole(backup(), read(DUMP))


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_dump_without_its_end(has_manifest):
    made = backup(tables=tables_of(read(DUMP))) if has_manifest else backup()
    with pytest.raises(BadBackupError, match="the end of the dump is missing") as caught:
        require_whole(made, read(DUMP[:-60]))
    assert "TRAILER_MISSING" in {f["code"] for f in caught.value.findings}


def test_other_rows_than_the_manifest_says():
    other = read(DUMP.replace(b"\n1\n", b"\n3\n"))
    with pytest.raises(BadBackupError, match="is not what its manifest says") as caught:
        require_whole(backup(tables=tables_of(read(DUMP))), other)
    assert [f["code"] for f in caught.value.findings] == ["DATA_DIFFERS"]
