"""Where a backup lies, whole or in part."""

from datetime import datetime, timezone

from postgres_backup.backup.place import Place
from postgres_backup.catalog.names import BackupName, Layout

NAME = BackupName(datetime(2026, 1, 27, tzinfo=timezone.utc), encrypted=True)
STEM = "postgres-backup-2026-01-27_00-00-00"


def test_a_whole_backup_and_its_manifest():
    place = Place(Layout("p", "crm"), NAME)
    assert place.key == f"p/crm/{STEM}.sql.gz.age"
    assert place.manifest == f"p/crm/manifests/{STEM}.json"
    assert place.label == f"{STEM}.sql.gz.age"


def test_a_part_lies_elsewhere_and_its_manifest_beside_it():
    place = Place(Layout("p"), NAME, "users+orders")
    assert place.key == f"p/partial/{STEM}.users+orders.sql.gz.age"
    assert place.manifest == f"{place.key}.json"
    assert place.label == f"{STEM}.users+orders.sql.gz.age"
