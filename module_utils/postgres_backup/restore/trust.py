"""Whom to believe: what a trusted key has signed is used as it is; everything else only where
somebody says so, and what is forged never.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..catalog.backups import Backup, Catalog
from ..catalog.signed import Believed, forged
from ..errors import UsageError
from ..findings import Finding, finding
from ..job import Job
from ..signing.judge import STRANGER, TRUSTED, UNSIGNED, WRONG, Standing
from ..signing.signers import principal_of

_HOW = (
    "If you know where it comes from, trust it this once: type the same with --trust-unsigned "
    "(Ansible: with -e trust_unsigned=true)"
)


def require_trusted(job: Job, catalog: Catalog, backup: Backup) -> list[Finding]:
    """Nothing of a backup is used that nobody trustworthy has signed, unless the job says so.

    :return: that it was trusted by hand; empty where it is signed.
    :raises BadBackupError: it is forged.
    :raises UsageError: it is not signed, or by a stranger, and the job does not trust it.
    """
    server = backup.manifest["server"].get("name", "") if backup.manifest else ""
    return require(job, catalog.believed, str(backup.name), server, backup.standing)


def require(
    job: Job, believed: Believed, name: str, server: str, standing: Standing
) -> list[Finding]:
    """The same for anything that is signed.

    :param server: the server that it says to be of.
    """
    if standing.kind == WRONG:
        raise forged(
            name,
            standing,
            "Nothing makes it good. Restore another: postgres-backup list. And ask who else has a "
            "key to the bucket",
        )
    if standing.kind == TRUSTED:
        return []
    code = "SIGNED_BY_STRANGER" if standing.kind == STRANGER else "UNSIGNED"
    told = f"{name}: {standing.says[0].lower()}{standing.says[1:]}"
    if job.trust_unsigned and (standing.kind == UNSIGNED or not believed.problem):
        return [finding(code, f"{told}; it is trusted by hand")]
    if believed.problem:
        raise believed.problem
    hint = _HOW
    if standing.kind == STRANGER:
        hint = (
            f"If {principal_of(server)} is yours, put its key into inventory/keys/ and run "
            f"ansible-playbook setup.yml. {_HOW}"
        )
    else:
        hint = (
            "To vouch for all that is older than this server's key: postgres-backup adopt --yes. "
            f"{_HOW}"
        )
    raise UsageError(f"Nobody vouches for {told}", hint, [finding(code, told)])


def require_power(job: Job, backup: Backup, findings: Sequence[Finding]) -> None:
    """Roles that a backup makes get power over the server only where the backup is signed, or
    somebody wants that besides.

    :param findings: what was found out about its roles.
    :raises UsageError: it is not signed, and some would.
    """
    if backup.trusted or job.roles_with_power:
        return
    for found in findings:
        if found["code"] == "ROLES_WITH_POWER":
            raise UsageError(
                f"Nobody vouches for {backup.name}, and it makes roles with power over the server: "
                f"{found['message']}",
                "If that is meant: --roles-with-power (Ansible: -e roles_with_power=true). Or make "
                "them yourself before, without power: then they are left as they are",
                [found],
            )
