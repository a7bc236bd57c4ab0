"""``python -m demo.clean``: stop the servers that the demo left running and remove ``.demo/``.

Only processes whose own directories say that they are the demo's are ended; where nothing is there,
nothing happens.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .postgres_server import PostgresServer
from .s3_server import SeaweedFS

DIRECTORY = Path(__file__).resolve().parent.parent / ".demo"


def stop(directory: Path = DIRECTORY) -> list[str]:
    """Stop every server under a directory; what was done, in order."""
    done = []
    for state in sorted(directory.glob("**/server.json")):
        server = PostgresServer(state.parent)
        if server.is_running():
            server.stop()
            done.append(f"Stopped PostgreSQL {server.major} in {state.parent}")
    for state in sorted(directory.glob("**/weed.json")):
        store = SeaweedFS(state.parent, "", "")
        if store.pid:
            store.stop()
            done.append(f"Stopped SeaweedFS in {state.parent}")
    return done


def clean(directory: Path = DIRECTORY) -> list[str]:
    """Stop every server under a directory and delete it; what was done, in order."""
    done = stop(directory)
    if directory.exists():
        shutil.rmtree(directory)
        done.append(f"Removed {directory}")
    return done


if __name__ == "__main__":
    print("\n".join(clean()) or f"Nothing to clean: there is no {DIRECTORY}", file=sys.stderr)
