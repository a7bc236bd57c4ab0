"""The user's own checks: queries of the restored copy, read only, each with what it should answer
and a time that it may take.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypedDict

import psycopg
from psycopg import sql

from ..errors import UsageError
from ..findings import Finding, finding
from ..postgresql.connection import first_line, own_search_path

#: seconds that a query may take where it does not say otherwise
_PATIENCE = 60
_COMPARE: Mapping[str, Callable[..., object]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KEYS = ("name", "sql", "expect", "compare", "timeout")
#: letters of an answer that a message quotes
_QUOTED = 200


class Query(TypedDict):
    """One query as the settings have it; ``expect``: what the first value of its first row must be,
    in the sense of ``compare``; ``timeout``: seconds.
    """

    name: str
    sql: str
    expect: str
    compare: str
    timeout: float


class Answered(TypedDict):
    """What came of one; ``answer`` is None where there is no row, or where it failed."""

    name: str
    answer: str | None
    expect: str
    compare: str
    passed: bool
    error: str


def parsed(texts: Sequence[str]) -> list[Query]:
    """The queries of the settings; a query that says nothing of what it expects must answer true.

    :param texts: each a JSON object.
    :raises UsageError: one of them is none, or makes no sense; says which.
    """
    queries = [_query(number, text) for number, text in enumerate(texts, 1)]
    names = [query["name"] for query in queries]
    if len(set(names)) < len(names):
        raise _wrong("a list in which two have one name")
    return queries


def _query(number: int, text: str) -> Query:
    try:
        one: object = json.loads(text)
    except ValueError as error:
        raise _wrong(f"no JSON at number {number} ({error})") from None
    if not isinstance(one, dict) or not isinstance(one.get("sql"), str) or not one["sql"].strip():
        raise _wrong(f"wrong at number {number}: each has sql")
    if strange := sorted(set(one) - set(_KEYS)):
        raise _wrong(f"wrong at number {number}: {', '.join(map(str, strange))} is nothing of it")
    compare, timeout = one.get("compare", "="), one.get("timeout", _PATIENCE)
    if compare not in _COMPARE:
        raise _wrong(f"wrong at number {number}: compare is one of {' '.join(_COMPARE)}")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
        raise _wrong(f"wrong at number {number}: timeout is seconds, more than 0")
    expect = one.get("expect", True)
    if not isinstance(expect, (str, int, float)):
        raise _wrong(f"wrong at number {number}: expect is a text, a number, true or false")
    return {
        "name": " ".join(str(one.get("name") or one["sql"]).split())[:100],
        "sql": one["sql"],
        "expect": _text(expect),
        "compare": compare,
        "timeout": float(timeout),
    }


def _wrong(what: str) -> UsageError:
    return UsageError(
        f"backup_drill_queries (in the config: DRILL_QUERIES) is {what}",
        'One is such as {"sql": "SELECT count(*) FROM orders", "compare": ">", "expect": 1000}',
    )


def ask(connection: psycopg.Connection, queries: Sequence[Query]) -> list[Answered]:
    """Ask them, one after the other, each in a transaction that is read only and undone.

    :raises psycopg.Error: the connection is gone.
    """
    if queries:
        own_search_path(connection)
    return [_ask(connection, query) for query in queries]


def _ask(connection: psycopg.Connection, query: Query) -> Answered:
    answered: Answered = {
        "name": query["name"],
        "answer": None,
        "expect": query["expect"],
        "compare": query["compare"],
        "passed": False,
        "error": "",
    }
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(
                    sql.Literal(max(1, int(query["timeout"] * 1000)))
                )
            )
            # prepared: one statement, whatever stands in it
            row = connection.execute(query["sql"].encode(), prepare=True).fetchone()
    except psycopg.Error as error:
        if connection.closed:
            raise
        return {**answered, "error": first_line(error)}
    if row is None or len(row) == 0:
        return {**answered, "error": "it returns no row"}
    text = None if row[0] is None else _text(row[0])
    return {**answered, "answer": text, "passed": _holds(text, query)}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(answer: str | None, query: Query) -> bool:
    """Numbers are compared as such, all else as text."""
    if answer is None:
        return False
    left: Decimal | str
    right: Decimal | str
    try:
        left, right = Decimal(answer), Decimal(query["expect"])
    except InvalidOperation:
        left, right = answer, query["expect"]
    return bool(_COMPARE[query["compare"]](left, right))


def findings_of(answers: Sequence[Answered]) -> list[tuple[str, Finding]]:
    """What is wrong with the answers, each with the name of its check."""
    found = []
    for one in answers:
        if one["error"]:
            made = finding("QUERY_FAILED", f"{one['name']}: {one['error']}")
        elif not one["passed"]:
            said = "nothing" if one["answer"] is None else one["answer"][:_QUOTED]
            made = finding(
                "QUERY_DIFFERS",
                f"{one['name']}: it answers {said}, and {one['compare']} {one['expect']} is "
                "expected",
            )
        else:
            continue
        found.append((check_of(one["name"]), made))
    return found


def check_of(name: str) -> str:
    """What the check of a query is called."""
    return f"query: {name}"
