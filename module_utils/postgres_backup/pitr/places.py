"""Where things of point-in-time recovery lie on a server, and in the bucket."""

from __future__ import annotations

import os
import urllib.parse

from ..catalog.names import shared_prefix
from ..settings import Settings

#: the folder of what only PostgreSQL's user may read; root's, so that nobody replaces a file in it
FOLDER = "/etc/postgres-backup-pitr"
#: the engine's config
CONFIG = f"{FOLDER}/engine/pgbackrest.conf"
#: what the archive is encrypted with
CIPHER_KEY = f"{FOLDER}/engine/cipher.key"
#: what its settings of PostgreSQL are called, in ``conf.d``
CONF_D = "postgres-backup-pitr.conf"
#: what the engine calls the cluster: there is one in each path
STANZA = "main"


def all_in_bucket(settings: Settings) -> str:
    """The prefix of all archives: outside of the dumps' prefix, whose listing stays what it was. It
    stays where it is when the dumps move into the server's own folder.
    """
    prefix = shared_prefix(settings.s3_prefix, settings.server_name)
    return f"{prefix}-pitr/" if prefix else "pitr/"


def of_server(settings: Settings) -> str:
    """The prefix of the archives of this server."""
    server = urllib.parse.quote(settings.server_name, safe="-_.~")
    return f"{all_in_bucket(settings)}{server}/"


def in_bucket(settings: Settings, system_identifier: str) -> str:
    """The path of a cluster's archive: one of its own for each cluster, so that a rebuilt server
    never meets a foreign history.
    """
    return f"/{of_server(settings)}{system_identifier}"


def spool(settings: Settings, data_directory: str) -> str:
    """Where what waits for its way to the store is noted: on the disk of the data, beside them, and
    where nobody but PostgreSQL's user can put a link.
    """
    beside = os.path.dirname(data_directory)
    if not os.path.isdir(data_directory):  # of a server that is to be rebuilt
        return os.path.join(settings.state_dir, "pitr-spool")
    owned = os.access(beside, os.W_OK) and os.stat(beside).st_uid == os.stat(data_directory).st_uid
    folder = beside if owned else settings.state_dir
    return os.path.join(folder, f"{os.path.basename(data_directory)}-pitr-spool")
