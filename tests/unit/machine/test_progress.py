"""What a long step tells, on a terminal, in a log and in a file."""

import io
import json
import os
import re

import pytest

from postgres_backup.machine import progress as room
from postgres_backup.machine.progress import FileProgress, LogProgress, Recorder, TerminalProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told to."""
    now = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_a_step_and_one_a_minute(clock):
    stream = io.StringIO()
    log = LogProgress(stream)
    log.phase("dumping crm", " (1 GB)")
    for _ in range(130):
        clock[0] += 1
        log.advance(2_000_000, lambda: "public.orders")
    lines = stream.getvalue().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line) for line in lines] == [
        "dumping crm (1 GB)",
        "dumping crm: 120.0 MB, 2.0 MB/s, public.orders",
        "dumping crm: 240.0 MB, 2.0 MB/s, public.orders",
    ]


def test_a_log_for_machines_is_json(clock):
    stream = io.StringIO()
    log = LogProgress(stream, as_json=True)
    log.phase("dumping crm")
    clock[0] += 61
    log.advance(5, "t")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["message"], set(first)) == ("dumping crm", {"at", "message"})
    assert (second["phase"], second["bytes"], second["table"]) == ("dumping crm", 5, "t")


def test_a_name_that_holds_a_newline_forges_no_line():
    stream = io.StringIO()
    LogProgress(stream).step("restoring x\n2026-01-01T00:00:00Z OK db1")
    assert stream.getvalue().count("\n") == 1


def test_a_terminal_shows_one_line_that_renews_itself(clock):
    stream = io.StringIO()
    shown = TerminalProgress(stream)
    shown.phase("dumping crm")
    clock[0] += 1
    shown.advance(1000)
    shown.close()
    assert stream.getvalue() == "dumping crm\n\r\x1b[2Kdumping crm: 1.0 kB, 1.0 kB/s\r\x1b[2K"


def test_a_file_holds_the_latest_state_and_every_step(tmp_path, clock):
    path = tmp_path / "progress.json"
    told = FileProgress(str(path))
    told.phase("dumping crm")
    clock[0] += 1
    told.advance(1000, "t")
    told.step("done")
    found = json.loads(path.read_text())
    assert (found["pid"], found["phase"], found["bytes"]) == (os.getpid(), "dumping crm", 1000)
    assert (found["table"], found["line"], found["steps"]) == ("t", "done", ["dumping crm", "done"])
    assert os.listdir(tmp_path) == ["progress.json"]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path):
    FileProgress(str(tmp_path / "no such folder" / "x")).step("goes on")


def test_a_recorder_passes_on_and_remembers_the_last_lines():
    stream = io.StringIO()
    recorder = Recorder(LogProgress(stream), most=2)
    for text in ("one", "two", "three"):
        recorder.step(text)
    assert list(recorder.lines) == ["two", "three"]
    assert stream.getvalue().count("\n") == 3


def test_a_reader_that_has_left_is_no_reason_to_stop():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        for _ in range(2):
            room.say("a line\n", stream)
