"""The manifest: what is written reads back, what is damaged is called so, what differs is named."""

import json
from types import SimpleNamespace

import pytest

from postgres_backup.catalog import manifest
from postgres_backup.errors import BadBackupError

WHOLE = {
    "name": "postgres-backup-2026-01-27_00-00-00.sql.gz",
    "database": "crm",
    "server": {"name": "db1"},
    "bytes": 10,
    "dump_bytes": 20,
    "rows": 2,
    "sha256": "0" * 64,
    "tables": {"public.t": {"rows": 2, "bytes": 4, "sha256": "1" * 64}},
    "comment": "Ж",
}


def test_what_is_written_reads_back():
    data = manifest.dump(WHOLE)
    assert manifest.parse(data, "m.json") == {"schema": 2} | WHOLE
    assert data == manifest.dump(dict(WHOLE))
    assert "Ж".encode() in data


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "comment"])
@pytest.mark.parametrize("value", [None, "", 5.5, []])
def test_what_every_manifest_has_is_looked_at(name, value):
    if isinstance(value, str) and isinstance(WHOLE[name], str):
        value = 5
    with pytest.raises(BadBackupError, match=f"no sensible {name}") as caught:
        manifest.parse(manifest.dump(WHOLE | {name: value}), "m.json")
    assert [f["code"] for f in caught.value.findings] == ["MANIFEST_DAMAGED"]


@pytest.mark.parametrize(
    "record", [5, {}, {"rows": "2", "sha256": ""}, {"rows": 2}, {"rows": 2, "sha256": None}]
)
def test_every_table_is_looked_at(record):
    with pytest.raises(BadBackupError, match=r"no sensible tables\.public\.t"):
        manifest.parse(manifest.dump(WHOLE | {"tables": {"public.t": record}}), "m.json")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'{"schema": 1, "na', b"\xff", b"[" * 10**5])
def test_what_is_no_manifest_is_damaged(data):
    with pytest.raises(BadBackupError, match=r"The manifest m\.json is damaged"):
        manifest.parse(data, "m.json")


def test_a_newer_one_asks_for_a_newer_program():
    newer = json.dumps(WHOLE | {"schema": manifest.SCHEMA + 1}).encode()
    with pytest.raises(BadBackupError) as caught:
        manifest.parse(newer, "m.json")
    assert [f["code"] for f in caught.value.findings] == ["MANIFEST_NEWER"]


PART = {"bytes": 5, "sha256": "2" * 64}


@pytest.mark.parametrize("version", [1, 2])
def test_the_parts_are_of_the_object(version):
    whole = WHOLE | {"schema": version, "parts": [PART, PART]}
    assert manifest.parse(manifest.dump(whole), "m.json") == whole


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parts": [PART]}, "its parts are not as many bytes as the object"),
        ({"parts": [PART] * 3}, "its parts are not as many bytes as the object"),
        ({"parts": []}, "its parts are not as many bytes as the object"),
        ({"parts": [PART | {"bytes": 0}, PART, PART]}, r"parts\.0\.bytes: it is out of range"),
        ({"parts": [PART | {"bytes": -5}, PART]}, r"parts\.0\.bytes: it is out of range"),
        ({"parts": [PART | {"bytes": (96 << 20) + 1}]}, r"parts\.0\.bytes: it is out of range"),
        ({"parts": [PART | {"sha256": "2" * 63}, PART]}, r"parts\.0\.sha256: it is no SHA-256"),
        ({"parts": [PART, {"bytes": 5}]}, r"parts\.1\.sha256: it is not there"),
        ({"parts": None}, "parts: it is no list"),
        ({"parts": [PART] * 10_001}, "parts: it has more than 10000 entries"),
        ({"globals": {"key": "k", "sha256": ""}}, r"globals\.sha256: it is no SHA-256"),
    ],
)
def test_parts_and_the_hash_of_the_roles_are_looked_at(change, why):
    with pytest.raises(BadBackupError, match=why) as caught:
        manifest.parse(manifest.dump(WHOLE | change), "m.json")
    assert [f["code"] for f in caught.value.findings] == ["MANIFEST_DAMAGED"]


def test_a_kit_keeps_its_schema():
    kit = {"server": {"name": "db1"}, "bytes": 1, "sha256": "0" * 64}
    data = manifest.dump_kit(kit)
    assert manifest.parse_kit(data, "k.json") == {"schema": 1} | kit
    with pytest.raises(BadBackupError, match="has schema 2; this program reads 1"):
        manifest.parse_kit(data.replace(b'"schema": 1', b'"schema": 2'), "k.json")


def record(rows: int = 1, sha256: str = "a") -> dict:
    return {"rows": rows, "bytes": 2, "sha256": sha256}


def test_the_tables_of_a_report():
    table = SimpleNamespace(rows=1, bytes=2, sha256="a", columns="id")
    report = SimpleNamespace(tables={"public.z": table, "public.a": table})
    assert list(manifest.tables_of(report).items()) == [
        ("public.a", record()),
        ("public.z", record()),
    ]


@pytest.mark.parametrize(
    ("expected", "actual", "codes"),
    [
        ({"t": record()}, {"t": record()}, []),
        ({"t": record()}, {"t": record() | {"bytes": 9}}, []),
        ({"t": record()}, {}, ["TABLE_MISSING"]),
        ({}, {"t": record()}, ["TABLE_UNEXPECTED"]),
        ({"t": record()}, {"t": record(rows=2)}, ["ROWS_DIFFER"]),
        ({"t": record()}, {"t": record(sha256="b")}, ["DATA_DIFFERS"]),
    ],
)
def test_each_difference_has_its_name(expected, actual, codes):
    found = manifest.differences(expected, actual)
    assert [f["code"] for f in found] == codes
    assert all("t " in f["message"] for f in found)


def test_of_many_differences_the_rest_is_counted():
    found = manifest.differences({f"t{number:02}": record() for number in range(13)}, {})
    assert len(found) == 11
    assert found[-1] == {"code": "MORE", "message": "and 3 more tables"}
