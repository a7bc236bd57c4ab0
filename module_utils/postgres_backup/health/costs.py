"""What the backups of one database cost at the store: room, requests and traffic a month; pure, no
I/O.

Counted is what this program itself asks for, successful and once; restores, listings that a person
types and repeated requests come on top. A GB is 1,000,000,000 bytes, as providers bill. Manifests,
roles and notes in the journal are some kB each and are left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import TypedDict

from ..catalog.backups import BackupLine
from ..catalog.retention import Policy
from ..s3.parts import MOST_BUFFER_BYTES, plan_parts
from ..settings import Settings
from ..text import human_bytes
from .second_store import Copied

DAYS_A_MONTH = 365.25 / 12
GB = 1e9
#: so many of the latest backups say how large the next will be
LATEST = 7
#: keys that a store tells in one answer; with more it is asked again
PAGE = 1000
#: months after which weekdays and dates are the same again
_CYCLE = 400 * 12
#: times a day that the watch looks into the bucket: hourly, called by cron and by a timer
LOOKS_A_DAY = 48


class Estimate(TypedDict):
    """What is stored and asked for in a month, and what that costs.

    ``steady`` is once the retention has run its whole length. The costs are in ``currency``, None
    where the settings have no price for it.
    """

    storage_bytes: int
    steady_bytes: int
    requests_month: int
    upload_bytes_month: int
    #: what the nights read again; drills and restores come on top
    read_bytes_month: int
    storage_month: float | None
    steady_month: float | None
    requests_cost_month: float | None
    currency: str
    #: of a GB a month, and of 1,000 requests, as they are set; 0: no price is
    price_gb_month: float
    price_requests_1000: float
    #: in the second store, and what that costs; 0 where there is none
    copy_bytes: int
    copy_month: float | None


def estimate(settings: Settings, kept: Sequence[BackupLine], others: int = 0) -> Estimate:
    """The costs of one database.

    :param kept: its backups that stay.
    :param others: backups of other servers and databases that lie beside them, and are listed too.
    """
    latest = sorted(
        (line for line in kept if line["state"] != "bad"),
        key=lambda line: line["taken_at"],
        reverse=True,
    )[:LATEST]
    size = _mean(line["bytes"] for line in latest)
    plain = max((line.get("dump_bytes") or line["bytes"] for line in latest), default=0)
    stored, steady = sum(line["bytes"] for line in kept), steady_backups(Policy.of(settings))
    standing = math.ceil(steady) + others
    requests = round(
        (
            night_requests(settings, size, plain, standing)
            + LOOKS_A_DAY * look_requests(settings, standing)
        )
        * DAYS_A_MONTH
    )
    by_size, by_request = (
        settings.price_gb_month / GB or None,
        settings.price_requests_1000 / 1000 or None,
    )
    return {
        "storage_bytes": stored,
        "steady_bytes": round(size * steady),
        "requests_month": requests,
        "upload_bytes_month": round(size * DAYS_A_MONTH),
        "read_bytes_month": round(read_bytes(settings, size)),
        "storage_month": by_size and stored * by_size,
        "steady_month": by_size and size * steady * by_size,
        "requests_cost_month": by_request and requests * by_request,
        "currency": settings.price_currency,
        "price_gb_month": settings.price_gb_month,
        "price_requests_1000": settings.price_requests_1000,
        "copy_bytes": 0,
        "copy_month": None,
    }


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Several databases, or servers of one currency, together."""
    parts = list(estimates)
    return {
        "storage_bytes": sum(part["storage_bytes"] for part in parts),
        "steady_bytes": sum(part["steady_bytes"] for part in parts),
        "requests_month": sum(part["requests_month"] for part in parts),
        "upload_bytes_month": sum(part["upload_bytes_month"] for part in parts),
        "read_bytes_month": sum(part["read_bytes_month"] for part in parts),
        "storage_month": _sum(part["storage_month"] for part in parts),
        "steady_month": _sum(part["steady_month"] for part in parts),
        "requests_cost_month": _sum(part["requests_cost_month"] for part in parts),
        "currency": next((part["currency"] for part in parts), ""),
        "price_gb_month": next((part["price_gb_month"] for part in parts), 0.0),
        "price_requests_1000": next((part["price_requests_1000"] for part in parts), 0.0),
        "copy_bytes": sum(part["copy_bytes"] for part in parts),
        "copy_month": _sum(part["copy_month"] for part in parts if part["copy_bytes"]),
    }


def read_bytes(settings: Settings, size: float) -> float:
    """Bytes that the nights of a month read again of one database, whose backups have that size:
    its share of what they may read of all.
    """
    wanted = size * settings.verify_per_night * DAYS_A_MONTH
    bound = settings.verify_gb_per_month * GB / len(settings.databases)
    return min(wanted, bound) if bound else wanted


def _sum(amounts: Iterable[float | None]) -> float | None:
    """What is not known in one is not known of all: a sum without it would look complete."""
    summed: float = 0
    for amount in amounts:
        if amount is None:
            return None
        summed += amount
    return summed


def with_more(estimate: Estimate, settings: Settings, stored: int) -> Estimate:
    """The same with so many bytes more, now and in the long run: parts of backups, which somebody
    takes by hand and the retention takes away.
    """
    price = settings.price_gb_month / GB
    now, steady = estimate["storage_month"], estimate["steady_month"]
    return {
        **estimate,
        "storage_bytes": estimate["storage_bytes"] + stored,
        "steady_bytes": estimate["steady_bytes"] + stored,
        "storage_month": None if now is None else now + stored * price,
        "steady_month": None if steady is None else steady + stored * price,
    }


def with_copy(estimate: Estimate, settings: Settings, known: Copied) -> Estimate:
    """The same with what lies in the second store, which has a price of its own. Each night reads
    there from the first what it copies: as much as it uploads.
    """
    held = sum(one["bytes"] for one in known.get("databases", {}).values())
    price = settings.copy_price_gb_month
    copied = held * price / GB if held and price else None
    return {**estimate, "copy_bytes": held, "copy_month": copied}


def lines(estimate: Estimate) -> list[str]:
    """An estimate as one sentence for a person; no line where no price is set."""
    currency = estimate["currency"]
    parts = []
    if estimate["storage_month"] is not None and estimate["steady_month"] is not None:
        now, steady = (
            _money(estimate["storage_month"], currency),
            _money(estimate["steady_month"], currency),
        )
        stored, later = (
            human_bytes(estimate["storage_bytes"]),
            human_bytes(estimate["steady_bytes"]),
        )
        parts.append(f"{stored} now for {now} a month, about {later} for {steady} in the long run")
    if estimate["requests_cost_month"] is not None:
        amount = _money(estimate["requests_cost_month"], currency)
        parts.append(f"about {estimate['requests_month']:,} requests a month for {amount}")
    copied = _copy_lines(estimate)
    if not parts:
        return [f"costs: {one}" for one in copied]
    return [
        "costs: "
        + "; ".join(
            [
                *parts,
                f"{human_bytes(estimate['upload_bytes_month'])} a month are uploaded",
                f"{human_bytes(estimate['read_bytes_month'])} read again",
                *copied,
                prices(estimate),
            ]
        )
    ]


def _copy_lines(estimate: Estimate) -> list[str]:
    if estimate["copy_month"] is None or not estimate["copy_bytes"]:
        return []
    amount = _money(estimate["copy_month"], estimate["currency"])
    return [f"{human_bytes(estimate['copy_bytes'])} in the second store for {amount} a month"]


def prices(estimate: Estimate) -> str:
    """At which prices that is, and where they are set."""
    currency = f" {estimate['currency']}" if estimate["currency"] else ""
    told = []
    if price := estimate["price_gb_month"]:
        told.append(f"{price:g}{currency} for a GB a month (backup_price_gb_month)")
    if price := estimate["price_requests_1000"]:
        told.append(f"{price:g}{currency} for 1,000 requests (backup_price_requests_1000)")
    return "at " + " and ".join(told) if told else ""


def _money(amount: float, currency: str) -> str:
    """``0.06 EUR``; what is less than a hundredth and not nothing is said to be so."""
    return ("under 0.01" if 0 < amount < 0.005 else f"{amount:,.2f}") + (
        f" {currency}" if currency else ""
    )


def _mean(numbers: Iterable[int]) -> float:
    sizes = list(numbers)
    return sum(sizes) / len(sizes) if sizes else 0.0


@functools.lru_cache(
    maxsize=64
)  # a report asks for hundreds of servers, which have a handful of policies
def steady_backups(policy: Policy) -> float:
    """How many backups one a night comes to, once the retention has run its whole length: the mean
    over a year.

    A mean, because a day that is the last of its week or month takes no place of its own while it
    is among the latest days.
    """
    first = date(2026, 1, 1)
    older = sum(_older(first + timedelta(day), policy) for day in range(365)) / 365
    return policy.days + older


def _older(today: date, policy: Policy) -> int:
    """Of how many nights before the latest days backups stand after tonight's prune; the dates are
    those of ``retention.plan``. They are counted and not gone through: somebody keeps a hundred
    years of weeks.
    """
    youngest = today - timedelta(max(policy.days, 1))
    # this week and this month have their newest today
    week = today - timedelta(today.weekday() + 1)  # the last day of the week before
    skipped = -(-max((week - youngest).days, 0) // 7)
    weeks = max(policy.weekly - 1 - skipped, 0)
    this_month, last = _month_of(today), _month_of(youngest + timedelta(1)) - 1
    first = this_month - policy.monthly + 1
    months = max(min(last, this_month - 1) - first + 1, 0)
    if not (weeks and months):
        return weeks + months
    # of the last days of months those that are Sundays too, in the weeks that count
    oldest = week - timedelta(7 * (policy.weekly - 2))
    shared_from = max(first, _month_of(oldest))
    return weeks + months - max(_sundays(last + 1) - _sundays(shared_from), 0)


def _month_of(day: date) -> int:
    """Months since the year 0."""
    return day.year * 12 + day.month - 1


def _sundays(month: int) -> int:
    """How many months before that one end with a Sunday; the calendar repeats after 400 years."""
    centuries, within = divmod(month, _CYCLE)
    known = _ending_with_a_sunday()
    return centuries * known[-1] + known[within]


@functools.cache
def _ending_with_a_sunday() -> Sequence[int]:
    """Of the first months of a cycle, as many as the place says."""
    known = [0]
    for month in range(1, _CYCLE + 1):
        year, before = divmod(month, 12)
        next_begins = date(400 + year, before + 1, 1)
        known.append(known[-1] + (next_begins.weekday() == 0))
    return known


def night_requests(settings: Settings, size: float, plain_bytes: int, kept: int) -> float:
    """Requests of one night of one database: a backup, the prune that takes one away, and the look
    back at both.

    :param size: bytes of the object.
    :param plain_bytes: about what the database holds: by it the parts are cut.
    :param kept: backups that lie there before and after.
    """
    backup = (
        1  # is the store there
        + 1  # the unfinished uploads of earlier runs
        + 4  # a name: the note that we begin, who else has, and that nothing is there under it
        + _upload_requests(settings, size, plain_bytes)
        + 5  # roles; manifest and the note in the journal, each with its signature
        + 4  # of these all but the note are read again
    )
    prune = (
        2  # is the store there, its clock
        + 1  # old events of the journal
        + _catalog_requests(kept + 1)
        + 4  # one goes: backup, roles, manifest and its signature
        + 3  # the note and its signature, which is read again
    )
    afterwards = (
        1 / len(settings.databases)  # is the store there
        # is the new one as large as the others, and the numbers for the metrics
        + _catalog_requests(kept)
        + 1  # the journal: what has failed
    )
    again = settings.verify_per_night * 5  # read; a proof with its signature, read again
    return backup + prune + afterwards + again + _kit_requests(settings)


def look_requests(settings: Settings, kept: int) -> float:
    """Requests of one look of the watch, for one database: is the store there and its clock (once
    for all of them), what lies there, and what the journal says has failed.
    """
    several = len(settings.databases) > 1
    together = 2 + (2 if several else 0)  # the prefix itself and its journal, of all databases
    return together / len(settings.databases) + _catalog_requests(kept) + 1


def _catalog_requests(backups: int) -> int:
    """To know what lies there: the listings of backups, of manifests with their signatures, and of
    proofs. What they show was read, or written, before (``s3/seen``); and what the settings would
    make lie elsewhere, if they named more databases or fewer, is not there.
    """
    described = math.ceil(2 * backups / PAGE) or 1
    return (math.ceil(backups / PAGE) or 1) + 2 * described


def _upload_requests(settings: Settings, size: float, plain_bytes: int) -> int:
    """Of one object: what lies there before and after, and in between the object, or its parts with
    begin and end.
    """
    part = plan_parts(
        min(plain_bytes, MOST_BUFFER_BYTES * settings.s3_max_parts), settings.s3_max_parts
    ).part_bytes
    parts = math.ceil(size / part)
    return 2 + (1 if parts <= 1 else parts + 2)


def _kit_requests(settings: Settings) -> float:
    """The server kit is saved once a night for all databases: each bears its share. It is small:
    one part.
    """
    if not settings.paths:
        return 0
    requests = (
        1  # is the store there
        + 1  # the unfinished uploads of earlier runs
        + 3  # a name: the note that we begin, who else has, and that no kit has it
        + 1  # the listing
        + 3  # what lies there before and after, and the kit
        + 4  # its manifest and the signature, read again
        + 1  # the clock
        + 3  # one goes, with its manifest and the signature
    )
    return requests / len(settings.databases)
