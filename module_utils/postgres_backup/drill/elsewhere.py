"""The copy of another server's backup, made here: this machine's PostgreSQL, the other one's
bucket, key and settings, which were given for the call and are written nowhere.

What is found goes back to the server whose backup it is: that asks its own live database, and notes
and tells how the drill ended. Nothing is signed here in its name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os

from ..errors import UsageError
from ..job import Job
from ..machine import config_file, lock
from ..settings import Settings
from ..shapes.reader import Unfit, fitted
from . import queries
from .copied import Copied, copy, rate_of

#: what is this machine's own: its database server, and whom it believes
_HERE = (
    *("db_host", "db_port", "db_user", "db_password", "db_maintenance", "db_container"),
    *("db_sslmode", "db_sslrootcert", "db_sslcert", "db_sslkey", "pg_bin_dir"),
    *("signing_key_file", "trusted_signers_file"),
)


def settings_there(text: str, here: Settings) -> Settings:
    """The settings of a server as its config file has them, with this machine's PostgreSQL.

    :param text: of its config file.
    :raises UsageError: it is none.
    """
    theirs = config_file.from_values(
        config_file.parse(text, "the config of the other server"), "the config of the other server"
    )
    own = {name: getattr(here, name) for name in _HERE}
    # what is remembered of its backups must not be taken for this machine's
    folder = hashlib.sha256(theirs.server_name.encode()).hexdigest()[:16]
    bundle = theirs.s3_ca_bundle
    return dataclasses.replace(
        theirs,
        **own,
        s3_ca_bundle=bundle if not bundle or os.path.exists(bundle) else here.s3_ca_bundle,
        state_dir=os.path.join(here.state_dir, "drills", folder),
        alert_urls=(),
        ping_url="",
        drill_ping_url="",
        metrics_file="",
    )


def copy_here(job: Job, text: str, key: str, fast: bool = False) -> Copied:
    """Restore another server's backup here, look at it, and remove it.

    :param job: with this machine's settings.
    :param text: of that server's config file.
    :param key: of the backup in its bucket.
    :raises UsageError: there is no such backup, or what is asked for makes no sense.
    :raises LockedError: another drill of this database is under way here.
    """
    settings = settings_there(text, job.settings)
    there = dataclasses.replace(job, settings=settings)
    asked = queries.parsed(settings.drill_queries)
    os.makedirs(settings.state_dir, mode=0o700, exist_ok=True)
    there.require()
    with lock.hold(settings, f"the drill of {there.database}", "drill"):
        whole = f"s3://{settings.s3_bucket}/{key}"
        found = copy(there, whole, rate_of(there, fast), asked, elsewhere=True)
    for one in found["findings"]:
        one["message"] = settings.hide(one["message"])
    return found


def came_back(found: object) -> Copied | None:
    """What another machine has answered.

    :return: None: nothing.
    :raises UsageError: it is not what :func:`copy_here` returns.
    """
    if not found:
        return None
    try:
        return fitted(found, Copied)
    except Unfit as why:
        raise UsageError(
            f"What was drilled elsewhere cannot be read: {why}",
            "Are both hosts set up from the same checkout? ansible-playbook setup.yml",
        ) from None


def lines(found: Copied) -> list[str]:
    """:func:`copy_here` for a person."""
    stood = f"{found['rows']} rows" if found["restored"] else "no copy of it stood"
    return [f"{found['key'] or 'the backup'}: drilled here: {stood}"] + [
        f"{one['level']}  {one['code']}: {one['message']}" for one in found["findings"]
    ]
