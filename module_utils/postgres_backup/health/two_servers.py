"""Does another server write backups under our name? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..catalog.backups import Backup
from ..catalog.servers import label
from ..clock import format_timestamp
from ..findings import Finding, finding

#: another server that has written nothing for so long has stopped, and is no alarm any more
SILENT = timedelta(days=3)


def findings_of(
    server: str, database: str, backups: Sequence[Backup], now: datetime
) -> list[Finding]:
    """TWO_SERVERS where another server of our name writes; OTHER_SERVER where one has stopped, and
    has left backups.

    :param backups: of one database, newest first.
    """
    findings, mine = [], [b for b in backups if b.ours and not b.untold]
    others: dict[str, list[Backup]] = {}
    own = label(mine[0].mark) if mine else ""
    for backup in backups:
        if backup.whose:
            same = backup.whose.identifier == own
            name = backup.whose.machine if same else label(backup.whose)
            others.setdefault(name, []).append(backup)
    for name, theirs in others.items():
        code = "TWO_SERVERS" if now - theirs[0].dated_at <= SILENT else "OTHER_SERVER"
        message = _message(code, server, database, name, mine, theirs)
        findings.append(finding(code, message, database=database))
    untold = [b for b in backups if b.untold]
    if untold and now - untold[0].dated_at <= SILENT:
        findings.append(finding("TWO_SERVERS", _untold(server, database, untold), database))
    return findings


def _message(
    code: str,
    server: str,
    database: str,
    name: str,
    mine: Sequence[Backup],
    theirs: Sequence[Backup],
) -> str:
    newest = theirs[0]
    took = f"{len(theirs)} backups, the last {newest.name} of {format_timestamp(newest.taken_at)}"
    adopt = f"postgres-backup adopt --database {database} --server {name}"
    if code == "OTHER_SERVER":
        return (
            f"another server has left backups of {database} under the name {server} "
            f"({newest.whose}: {took}); they stay. If they are to be this server's: {adopt}"
        )
    this = ""
    if mine:
        this = f" ({mine[0].mark}, the last {format_timestamp(mine[0].taken_at)})"
    return (
        f"two servers write backups of {database} under the name {server}: this one{this}, and "
        f"{newest.whose} ({took}). Give one of them another name (backup_server_name); or, if "
        f"that one is gone and this one is its successor: {adopt}"
    )


def _untold(server: str, database: str, untold: Sequence[Backup]) -> str:
    marks = dict.fromkeys(str(backup.mark) for backup in untold)
    return (
        f"two servers write backups of {database} under the name {server}, and they cannot be told "
        f"apart ({'; '.join(list(marks)[:3])}; the last {untold[0].name}): one is a copy of the "
        "other's disk, or of its settings. Give one of them another name (backup_server_name). "
        "Until then nothing of these is pruned, and a restore must name its backup. If only this "
        f"one is left: postgres-backup adopt --database {database} "
        f"--server {label(untold[0].mark)}"
    )
