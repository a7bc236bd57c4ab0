"""Root becomes the owner of the config before anything is done."""

from __future__ import annotations

import os
import pwd

from ..errors import UsageError


def become_owner(config: str) -> None:
    """As root: become whoever owns the config, so that the state and the lock stay that user's and
    cron can go on with them.

    :raises UsageError: there is no such config or user.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(config).st_uid
    except OSError as error:
        raise UsageError(
            f"Failed to read the config {config}: {error.strerror}",
            "Run `ansible-playbook setup.yml`, or name another with --config FILE",
        ) from None
    if owner == 0:
        return
    try:
        user = pwd.getpwuid(owner)
    except KeyError:
        raise UsageError(
            f"The config {config} belongs to user number {owner}, whom this machine does not know",
            f"chown it to a user: chown postgres-backup {config}",
        ) from None
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(owner)
    os.environ["HOME"] = user.pw_dir
    if not os.access(os.__file__, os.R_OK):
        raise UsageError(
            f"{user.pw_name}, who owns the config, may not read the Python that runs this"
            f" ({os.path.dirname(os.__file__)})",
            "Run `ansible-playbook setup.yml`, which installs one that everybody may read, "
            "or take another Python",
        )
