"""How long the page of 300 servers with 90 backups each takes, and how large it is: part of ``make
bench``.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

from bench import fleet
from postgres_backup.page import page

TEMPLATE = Path(__file__).resolve().parent.parent / "playbooks/templates/report.html.j2"


def main() -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    servers = fleet.fleet(300, now)
    backups = sum(
        len(database["backups"])
        for one in servers
        for database in one.get("facts", {}).get("databases", [])
    )
    began = time.monotonic()
    text = page.render(servers, now, TEMPLATE.read_text(encoding="utf-8"))
    seconds, size = time.monotonic() - began, len(text.encode()) / 1e6
    print(
        f"The page of {len(servers)} servers with {backups:,} backups: "
        f"{seconds:.1f} s, {size:.1f} MB"
    )


if __name__ == "__main__":
    main()
