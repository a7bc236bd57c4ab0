"""The rehearsal of a whole rebuild on a spare host, as far as the server that lives has a part in
it: what playbooks/drill.yml must know before, and what is noted after.

The spare host reads the bucket as the lost server would. What it writes there, a first backup
above all, lies under a prefix of its own, so that nobody takes it for this server's, and is removed
again.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import TypedDict

from ..catalog import kits
from ..catalog.names import shared_prefix
from ..clock import format_timestamp, utc_now
from ..findings import Finding, finding
from ..health import outcome
from ..health.drills import REBUILT
from ..job import Job
from ..machine import state
from ..s3 import calls
from ..s3.errors import may_fail
from ..settings import Settings
from ..text import human_seconds
from . import estimate
from .earlier import newest_manifest

#: what a rehearsal is called by: its server in its config, its prefix in the bucket
_TAIL = "-rehearsal"


class RehearsalBegun(TypedDict):
    """What a rehearsal must know.

    ``name``, ``prefix``: of what it writes into the bucket. ``roles``: those that it may make on
    the spare host. ``paths``: where the files of the server kit go. ``removed``: objects in the
    bucket that an earlier rehearsal had left.
    """

    changed: bool
    name: str
    prefix: str
    roles: list[str]
    paths: list[str]
    removed: int
    findings: list[Finding]


class RehearsalEnded(TypedDict):
    """A rehearsal that was noted.

    ``seconds``: of all phases; ``expected``: what the estimate was before it; ``reason``: why it
    failed, empty where it went well; ``stays``: what could not be removed again on the spare host.
    """

    changed: bool
    host: str
    seconds: float
    phases: dict[str, float]
    expected: float
    reason: str
    stays: list[str]
    findings: list[Finding]


def name_of(settings: Settings) -> str:
    """Under which name a rehearsal writes into the bucket."""
    return settings.server_name + _TAIL


def prefix_of(settings: Settings) -> str:
    """Under which prefix it does: beside that of the backups, and beside those of other servers'
    rehearsals.
    """
    whose = urllib.parse.quote(settings.server_name, safe="-_.~")
    return f"{shared_prefix(settings.s3_prefix, settings.server_name)}{_TAIL}/{whose}".lstrip("-")


def begin(job: Job) -> RehearsalBegun:
    """What the playbook must know before it touches the spare host; what an earlier rehearsal has
    left in the bucket is removed.
    """
    settings = job.settings
    job.store.check()
    newest = [newest_manifest(job, name) for name in settings.databases]
    roles = {role for known in newest if known for role in known["roles"]}
    kit = kits.newest_kit(settings)
    removed, findings = (0, list[Finding]()) if job.check else _remove(job)
    return {
        "changed": removed > 0,
        "name": name_of(settings),
        "prefix": prefix_of(settings),
        "roles": sorted(roles | {settings.db_user}),
        "paths": kit["paths"] if kit else list(settings.paths),
        "removed": removed,
        "findings": findings,
    }


def end(
    job: Job, host: str, phases: Mapping[str, float], reason: str, stays: Sequence[str]
) -> RehearsalEnded:
    """Remove what the rehearsal has written into the bucket, and note how it ended, in the journal
    and for the estimates of the next drills.

    :param host: the spare host, by its name in the inventory.
    :param phases: seconds of each phase that came to its end.
    :param reason: why it failed; empty: it did not.
    :param stays: what could not be removed again on that host.
    """
    settings, now = job.settings, utc_now()
    took = {name: round(float(seconds), 1) for name, seconds in phases.items()}
    seconds = round(sum(took.values()), 1)
    expected = estimate.remembered(job, kits.newest_kit(settings) is not None)["seconds"]
    findings: list[Finding] = []
    if not job.check:
        findings += _remove(job)[1]
        facts = {"database": "", "host": host, "phases": took, "seconds": seconds}
        if reason:
            facts["reason"] = settings.hide(reason.partition("\n")[0])
        event = "rehearsal-failed" if reason else "rehearsal"
        findings += outcome.told(settings, "", event, facts)
        if not reason:
            stamp = format_timestamp(now)
            with state.changing(settings, REBUILT, findings) as rebuilt:
                rebuilt |= {"phases": took, "at": stamp, "host": host, "seconds": seconds}
    return {
        "changed": not job.check,
        "host": host,
        "seconds": seconds,
        "phases": took,
        "expected": expected,
        "reason": settings.hide(reason),
        "stays": list(stays),
        "findings": findings,
    }


def _remove(job: Job) -> tuple[int, list[Finding]]:
    """What rehearsals of this server have written, and how much it was."""
    prefix, findings, removed = prefix_of(job.settings), list[Finding](), 0
    with may_fail(findings):
        keys = [item.key for item in job.store.list(f"{prefix}/", call=calls.SEE_REHEARSED)]
        job.store.delete(keys, call=calls.REMOVE_REHEARSED)
        removed = len(keys)
    where = f"s3://{job.settings.s3_bucket}/{prefix}/"
    return removed, [finding(one["code"], f"{one['message']} ({where})") for one in findings]


def begun_lines(begun: RehearsalBegun) -> list[str]:
    """:func:`begin` for a person."""
    removed = [f"{begun['removed']} objects of an earlier rehearsal removed"]
    return [
        f"What is rehearsed writes under {begun['prefix']}/, which is removed again",
        *(removed if begun["removed"] else []),
        *(f"{one['code']}: {one['message']}" for one in begun["findings"]),
    ]


def ended_lines(ended: RehearsalEnded) -> list[str]:
    """:func:`end` for a person."""
    host, took = ended["host"], human_seconds(ended["seconds"])
    if ended["reason"]:
        told = [f"The rebuild rehearsed on {host} FAILED: {ended['reason']}"]
    else:
        expected = human_seconds(ended["expected"])
        told = [
            f"Rebuild rehearsed on {host}: {took}; the estimate was {expected}",
            *(f"  {name}: {human_seconds(part)}" for name, part in ended["phases"].items()),
        ]
    stays = "; ".join(ended["stays"])
    told += [f"Still on {host}: {stays}"] if stays else []
    return told + [f"{one['code']}: {one['message']}" for one in ended["findings"]]
