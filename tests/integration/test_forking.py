"""A forked program is the program: what tests are told by ``engine.run`` is what users see."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from tests.integration import engine


def test_it_says_what_a_process_of_its_own_says(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(config.path)
    for words in (["list"], ["list", "--json"], ["verify"], ["no-such-thing"], ["--version"]):
        real = subprocess.run(
            engine.command(relative, *words),
            capture_output=True,
            text=True,
            check=False,
            env=engine.environment(),
        )
        forked = engine.run(relative, *words)
        assert (forked.returncode, forked.stderr) == (real.returncode, real.stderr)
        assert forked.stdout == real.stdout
        assert forked.stdout + forked.stderr


def test_one_that_takes_too_long_is_ended(config):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config.change(S3_ENDPOINT_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(subprocess.TimeoutExpired):
            engine.run(config.path, "list", timeout=2)
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(30)
            while connection.recv(65536):
                pass  # its end is the end of the connection
