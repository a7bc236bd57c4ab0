"""Several servers have written under one name: whose is which backup? Pure.

A rebuilt server, or a new cluster after an upgrade, has another system identifier than its
predecessor and owns what that left. Two servers that both write (a cloned machine, a copied
inventory) own what each has taken itself. What tells them apart is the order: a predecessor wrote
nothing after its successor's first backup.

A machine whose disk was copied has the same system identifier. But no PostgreSQL server comes back
once it has ended: of two backups of one running server none lies between them that another one, of
another start, took.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ..machine.identity import Mark


class Wrote(NamedTuple):
    """A backup: when it was taken, of which server, and who adopted it (empty: nobody).

    ``since``: when that server took its first one, which may be pruned by now.
    """

    at: datetime
    mark: Mark
    adopter: str = ""
    since: datetime | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whose a backup is.

    :param whose: another server of the same name; None: it is ours, as far as can be told.
    :param untold: it may as well be another's.
    :param held: why no prune takes it now; empty where the retention decides.
    """

    whose: Mark | None = None
    untold: bool = False
    held: str = ""


OURS = Verdict()
_FIRST = Verdict(held="another server took it, and this one has taken none yet")
_UNTOLD = Verdict(
    untold=True,
    held="two servers write under this name, and whose it is cannot be told",
)


class _Span(NamedTuple):
    first: datetime
    last: datetime


def label(mark: Mark) -> str:
    """What a server is called in a command, and where backups are adopted."""
    return mark.identifier or mark.machine or "unknown"


def judge(own: Mark, wrote: Sequence[Wrote], now: datetime, patience: timedelta) -> list[Verdict]:
    """Whose each backup is, in the order given.

    :param own: of the server that asks; what is empty in it nobody could say.
    :param wrote: the backups of one server name and database, adopted ones too.
    :param patience: a predecessor's backups stay for so long after our first one: it may yet turn
        out to be alive.
    """
    verdicts = _by_identifier(own, wrote, now, patience)
    same = [n for n, verdict in enumerate(verdicts) if verdict == OURS]
    for number, verdict in zip(same, _twins(own, [wrote[n] for n in same]), strict=True):
        verdicts[number] = verdict
    return verdicts


def _by_identifier(
    own: Mark, wrote: Sequence[Wrote], now: datetime, patience: timedelta
) -> list[Verdict]:
    running = [w for w in wrote if not w.adopter]
    spans = _spans(
        (w.mark.identifier, at) for w in running for at in (w.at, min(w.since or w.at, w.at))
    )
    theirs = {name: span for name, span in spans.items() if name != own.identifier}
    if not theirs and not any(w.adopter for w in wrote):
        return [OURS] * len(wrote)
    verdicts: dict[str, Verdict] = {}
    if own.identifier not in spans:
        overlap = set(_overlapping(spans))
        alone = _FIRST if own.identifier else OURS
        verdicts = {name: _UNTOLD if name in overlap else alone for name in spans}
    else:
        verdicts = _against_ours(spans[own.identifier], theirs, _marks(wrote), now, patience)
    judged = []
    for w in wrote:
        name = w.adopter if w.adopter else w.mark.identifier
        mine = not name or name == own.identifier or w.adopter == label(own)
        judged.append(OURS if mine else verdicts.get(name, OURS))
    return judged


def _against_ours(
    ours: _Span,
    theirs: Mapping[str, _Span],
    marks: Mapping[str, Mark],
    now: datetime,
    patience: timedelta,
) -> dict[str, Verdict]:
    """Predecessors, and other servers."""
    others = {name: span for name, span in theirs.items() if span.last > ours.first}
    held = now - ours.first <= patience
    verdicts = {}
    for name, span in theirs.items():
        # whoever came first after it is its successor
        succeeded = any(span.last < other.first < ours.first for other in others.values())
        if name in others or succeeded:
            verdicts[name] = Verdict(whose=marks[name])
        elif held:
            why = f"taken by the server before this one ({name}), which may yet be alive"
            verdicts[name] = Verdict(held=why)
        else:
            verdicts[name] = OURS
    return verdicts


def _twins(own: Mark, wrote: Sequence[Wrote]) -> list[Verdict]:
    """Whose backups of one system identifier are, where two servers have it."""
    running = [w for w in wrote if not w.adopter]
    spans = _spans((w.mark.started, w.at) for w in running)
    pairs = list(_pairs(spans))
    if not pairs:
        return [OURS] * len(wrote)
    machines: dict[str, set[str]] = {}
    for w in running:
        machines.setdefault(w.mark.started, set()).add(w.mark.machine)
    tells = bool(own.machine) and not any(
        "" in machines[one] | machines[other] or machines[one] & machines[other]
        for one, other in pairs
    )
    mine = {own.started} - {""}
    if tells:
        mine |= {w.mark.started for w in running if w.mark.machine == own.machine} - {""}
    several = {name for pair in pairs for name in pair}
    judged = []
    for w in wrote:
        if w.adopter or w.mark.started in mine or not w.mark.started:
            judged.append(OURS)
        elif tells and w.mark.machine:
            judged.append(Verdict(whose=w.mark))
        else:
            judged.append(_UNTOLD if w.mark.started in several else OURS)
    return judged


def _spans(wrote: Iterable[tuple[str, datetime]]) -> dict[str, _Span]:
    """When each first and last wrote; who is not known is left out."""
    spans: dict[str, _Span] = {}
    for name, at in wrote:
        if name:
            known = spans.get(name, _Span(at, at))
            spans[name] = _Span(min(known.first, at), max(known.last, at))
    return spans


def _pairs(spans: Mapping[str, _Span]) -> Iterable[tuple[str, str]]:
    """Those of whom one wrote between two backups of the other."""
    ordered = sorted(spans, key=lambda name: spans[name])
    open_: list[str] = []
    for name in ordered:
        open_ = [other for other in open_ if spans[other].last > spans[name].first]
        for other in open_:
            if spans[other].first < spans[name].last:
                yield other, name
        open_.append(name)


def _overlapping(spans: Mapping[str, _Span]) -> Iterable[str]:
    return (name for pair in _pairs(spans) for name in pair)


def _marks(wrote: Sequence[Wrote]) -> dict[str, Mark]:
    """The newest mark of each identifier."""
    return {w.mark.identifier: w.mark for w in sorted(wrote, key=lambda w: w.at)}
