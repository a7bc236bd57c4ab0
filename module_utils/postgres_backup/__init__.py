"""Backups of PostgreSQL into S3-compatible object storage, and the way back.

The package knows nothing of Ansible and imports only relatively, so that the same folder serves the
modules in ``library/`` and, on a server, the command ``postgres-backup``.

Floors; a room imports only from floors below its own (tests/unit/test_floors.py holds us to it):
"""

__version__ = "0.1.0"

#: the rooms, from the top down; within a floor they stand in the order in which they may use one another, users first
FLOORS = {
    "top: how to ask and how to answer": ["__main__"],
    "several use cases in a row": ["report", "watch", "nightly", "staged"],
    "use cases: the order of steps": ["backup", "restore", "tables", "prune", "verify", "status", "history", "kit", "publish"],
    "parts of them: one thing each": [
        *("outcome", "in_place", "beside", "proof", "source", "preflight", "expire", "catalog", "owners", "costs"),
        *("roles", "journal", "load", "dump", "retention", "schedule", "metrics", "alerts", "ping", "trend", "page", "chart", "verdict"),
    ],
    "ground: the store": ["store", "bucket", "upload", "download", "s3", "s3_errors"],
    "ground: the server": ["replaced", "swap", "databases", "postgres", "programs"],
    "ground: the stream": ["guard", "inspector", "scanner", "grammar", "codec", "age", "channel"],
    "ground: this machine": ["interrupt", "lock", "state", "settings", "manifest", "names", "progress", "errors"],
}
