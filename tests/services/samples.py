"""The demo's sample database beside others on one server, where roles need names of their own."""

from __future__ import annotations

import psycopg

from demo import sample


def load(dsn: str, seed: int = 1, scale: float = 1.0, role_prefix: str = "") -> None:
    """Fill an empty database as :func:`demo.sample.load` does.

    :param role_prefix: begins the names of its roles; empty: without roles, grants and the
        database's own settings.
    """
    with psycopg.connect(dsn) as connection, connection.transaction():
        if role_prefix:
            sample.make_roles(connection, role_prefix)
        sample.fill(connection, seed, scale)
        if role_prefix:
            sample.grant(connection, role_prefix)
