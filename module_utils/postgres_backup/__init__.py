"""Backups of PostgreSQL into S3-compatible object storage, and the way back.

The package knows nothing of Ansible and imports only relatively, so that the same folder serves the
modules in ``library/`` and, on a server, the command ``postgres-backup``.

Floors; a room imports only from floors below its own:

* top: ``__main__`` and ``library/*.py`` - how to ask and how to answer
* use cases: ``backup`` ``restore`` ``prune`` ``verify`` ``status`` - the order of steps
* parts: ``dump`` ``load`` ``catalog`` ``retention`` - one thing each
* ground: ``names`` ``settings`` ``manifest`` ``store`` ``postgres`` ``inspector`` ``codec`` ``lock``
  ``progress`` - no other room but ``errors``
"""

__version__ = "0.1.0"
