"""The application of ``app/`` on a server, as somebody outside sees it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from tests.servers.server import Server


def health(server: Server) -> tuple[int, dict]:
    """What its health page says: the status, and its facts; 0 and the reason where none answers."""
    try:
        with urllib.request.urlopen(f"http://{server.address}:8000/healthz", timeout=3) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except OSError as error:
        return 0, {"reason": str(error)}
