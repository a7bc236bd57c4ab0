"""A signal ends the program at any moment, and never between a lock and whoever gives it back."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.documents import ROOT

#: the main thread and another hand a lock to and fro; at the end the main thread waits for the
#: other, as the way out of a backup does
BUSY = """
import sys, threading
from postgres_backup.machine import signals as interrupt
from postgres_backup.stream.channel import Channel
interrupt.listen()
channel = Channel(4)
taken = 0
def work():
    global taken
    while channel.get():
        taken += 1
thread = threading.Thread(target=work, daemon=True)
with interrupt.hold:
    thread.start()
try:
    print("busy", flush=True)  # the signal may come at once
    while True:
        {body}
except interrupt.Interrupted as stop:
    channel.end()
    thread.join()
    sys.exit(f"ended by {{stop}}")
"""


def ended(body: str, number: int = signal.SIGTERM, wait: float = 0.0) -> str:
    """What a program says that is signalled after a while."""
    argv = [sys.executable, "-c", textwrap.dedent(BUSY).format(body=body)]
    environment = {"PYTHONPATH": str(ROOT / "module_utils"), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "busy\n"
        time.sleep(wait)
        process.send_signal(number)
        process.send_signal(number)  # the second changes nothing
        try:
            return process.communicate(timeout=10)[1]
        finally:
            process.kill()


def test_at_any_moment():
    """With ``threading.Condition`` in its place one in some dozen of these hangs."""
    rng = random.Random(1)
    for _ in range(40):
        assert ended('channel.put(b"x")', wait=rng.uniform(0, 0.02)) == "ended by SIGTERM\n"


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name
)
def test_while_it_waits(number):
    """The other side takes nothing more: the wait ends all the same."""
    body = 'channel._most = 0; channel.put(b"x")'
    assert ended(body, number, wait=0.05) == f"ended by {signal.Signals(number).name}\n"


def test_what_is_being_imported_is_loaded_to_its_end(tmp_path):
    """Half of a module stays in Python's memory, and the way out would find that."""
    (tmp_path / "slow.py").write_text(
        "import sys, time\n"
        "sys.begun = getattr(sys, 'begun', 0) + 1\n"
        "for _ in range(50):\n"
        "    time.sleep(0.01)\n"
    )
    body = "\n        ".join(
        [
            f"sys.path.insert(0, {str(tmp_path)!r})",
            "try:",
            "    import slow",
            "    while True: pass",
            "finally:",
            "    import slow",
            "    print(sys.begun, file=sys.stderr)",
        ]
    )
    assert ended(body, wait=0.1) == "1\nended by SIGTERM\n"


def test_what_holds_up_the_way_out_is_ended_by_the_system():
    body = "\n        ".join(
        [
            "interrupt.LAST_RESORT = 1",
            "try:",
            "    threading.Event().wait()",
            "finally:",
            "    threading.Event().wait()",
        ]
    )
    argv = [sys.executable, "-c", textwrap.dedent(BUSY).format(body=body)]
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT / "module_utils")},
    ) as process:
        assert process.stdout.readline() == "busy\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == -signal.SIGALRM
