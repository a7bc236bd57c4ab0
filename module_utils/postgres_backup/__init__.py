"""Backups of PostgreSQL into S3-compatible object storage, and the way back.

The package knows nothing of Ansible and imports only relatively, so that the same folder serves the
modules in ``library/`` and, on a server, the command ``postgres-backup``.
"""

__version__ = "0.1.0"

#: The floors of the house, from the top down: folders, and the rooms that belong to none. Who lives
#: on a floor imports from its own folder and from the floors below (tests/unit/test_floors.py holds
#: us to it).
FLOORS = (
    ("__main__",),
    ("cli",),
    ("nightly",),
    ("drill", "copying"),
    ("backup", "restore", "pitr", "page", "moving"),
    ("health",),
    ("verify",),
    ("postgresql", "catalog"),
    ("job",),
    ("stream", "s3"),
    ("signing",),
    ("machine",),
    ("settings",),
    ("errors",),
    ("shapes",),
    ("findings", "clock", "text"),
)
