"""What a playbook refuses is shown once, as a sentence, wherever it is typed."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys

import pytest

from tests.playbooks.test_playbooks import ROOT, checkout, play  # noqa: F401
from tests.services import ansible_runs

WHICH = "Which backup? ansible-playbook restore.yml -e backup=latest (see playbooks/list.yml)"
LIKES = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Of a list
      ansible.builtin.assert:
        that: item == 1
        quiet: true
        fail_msg: "{{ item }} is not one"
      loop: [1, 2]
      when: inventory_hostname == 'items'
    - name: Of several lines
      ansible.builtin.fail:
        msg: |
          It stopped.
            1. Type this
      when: inventory_hostname == 'lines'
    - name: Of a secret
      ansible.builtin.fail:
        msg: hunter2 is wrong
      no_log: true
      when: inventory_hostname == 'secret'
    - name: With what nobody has defined
      ansible.builtin.assert:
        that: item_of_nobody == 1
        fail_msg: never said
      when: inventory_hostname == 'undefined'
    - name: Of another module
      ansible.builtin.command:
        argv: [sh, -c, "echo why >&2; exit 3"]
      when: inventory_hostname == 'other'
    - name: Taken back
      when: inventory_hostname == 'rescued'
      block:
        - name: It fails
          ansible.builtin.fail:
            msg: For this reason.
      rescue:
        - name: Say it
          ansible.builtin.debug:
            msg: "still known: {{ ansible_failed_result.msg }}"
"""


def test_a_refusal_is_one_sentence_and_with_v_everything(checkout):  # noqa: F811
    short, long = (play(checkout, "restore.yml", *options) for options in ([], ["-v"]))
    assert short.returncode == long.returncode == 2
    assert short.stdout.count(WHICH) == 1
    assert f"fatal: [db1]: FAILED! => {WHICH}\n" in short.stdout
    for left_out in ("Origin:", "assertion:", "evaluated_to:", "[ERROR]"):
        assert left_out not in short.stdout
        assert left_out in long.stdout
    assert "failed=1" in short.stdout


@pytest.mark.parametrize("options", [[], ["-v"]])
def test_each_way_of_failing_says_what_it_has_to_say(tmp_path, options):
    """Of a play of the user's own; each of its hosts fails in another way."""
    (tmp_path / "likes.yml").write_text(LIKES)
    hosts = "items,lines,secret,undefined,other,rescued"
    words = ["-i", hosts, "-c", "local", str(tmp_path / "likes.yml"), *options]
    interpreter = json.dumps({"ansible_python_interpreter": sys.executable})
    said = play(ROOT, *words, "-e", interpreter).stdout
    assert "hunter2" not in said  # nobody asked for what is hidden, with -v neither
    assert "fatal: [secret]: FAILED! =>" in said
    assert "still known: For this reason." in said
    assert "item_of_nobody" in said
    assert "stderr: why" in said
    # without -v of undefined and other alone
    assert said.count("[ERROR]") == (5 if options else 2)
    assert "Origin:" in said
    if not options:
        assert "failed: [items] (item=2) => 2 is not one\n" in said
        assert said.count("is not one") == 1
        assert "fatal: [lines]: FAILED! => \n  It stopped.\n    1. Type this\n" in said
        assert said.count("For this reason.") == 2


def test_a_server_that_is_out_of_reach_is_one_sentence(checkout):  # noqa: F811
    done = play(checkout, "playbooks/status.yml", "-i", "db1,", "-c", "ssh", "-e", "ansible_port=1")
    assert done.returncode == 4
    [said] = re.findall(r"fatal: \[db1\]: UNREACHABLE! => (.*)\n", done.stdout)
    assert said.startswith("Failed to connect to the host via ssh:")
    assert "[ERROR]" not in done.stdout


def test_a_terminal_breaks_a_sentence_between_its_words(checkout):  # noqa: F811
    outer, inner = pty.openpty()
    subprocess.run(["stty", "cols", "60"], stdin=inner, check=True)
    done = subprocess.Popen(
        [ansible_runs.PLAYBOOK, "restore.yml"],
        cwd=checkout,
        env=ansible_runs.environment(),
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    output = b""
    while piece := _read(outer):
        output += piece
    os.close(outer)
    assert done.wait() == 2
    lines = output.decode().replace("\r", "").splitlines()
    at = next(n for n, line in enumerate(lines) if "FAILED!" in line)
    assert lines[at + 1].startswith("  Which backup? ansible-playbook restore.yml")
    assert all(len(line) <= 60 for line in lines[at : at + 3])
    assert " ".join(" ".join(lines[at + 1 : at + 3]).split()) == WHICH


def _read(file: int) -> bytes:
    try:
        return os.read(file, 65536)
    except OSError:  # nobody holds the other end any more
        return b""


@pytest.mark.parametrize(
    ("playbook", "inventory"),
    [("restore.yml", True), ("playbooks/backup.yml", False), ("playbooks/adopt.yml", True)],
)
def test_in_another_folder_nothing_begins_and_it_says_where_to_type_it(
    tmp_path, playbook, inventory
):
    options = ["-i", str(ROOT / "inventory/hosts.example.yml")] if inventory else []
    done = play(tmp_path, *options, str(ROOT / playbook))
    assert done.returncode == 4
    assert f"Ansible has not read {ROOT}/ansible.cfg" in done.stdout
    assert f"Type cd {ROOT} && ansible-playbook {playbook} with the same options" in done.stdout
    assert "PLAY [" not in done.stdout
    assert "PLAY RECAP" not in done.stdout


def test_what_it_says_to_set_makes_it_go_on(tmp_path):
    words = ["-i", str(ROOT / "inventory/hosts.example.yml"), str(ROOT / "restore.yml")]
    done = play(tmp_path, *words, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    assert f"FAILED! => {WHICH}" in done.stdout
    # and whose own configuration knows of the roles is left alone
    own = tmp_path / "ansible.cfg"
    own.write_text(f"[defaults]\nroles_path = {ROOT / 'roles'}\n")
    done = play(tmp_path, *words)
    assert WHICH in done.stdout


def test_a_checkout_that_everybody_may_write_in_is_called_that(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "playbooks").mkdir(parents=True)
    shutil.copytree(ROOT / "callback_plugins", folder / "callback_plugins")
    for name in ("ansible.cfg", "restore.yml"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "playbooks/restore.yml", folder / "playbooks")
    for name in ("library", "roles"):
        (folder / "playbooks" / name).symlink_to(ROOT / name)
    folder.chmod(0o777)
    done = play(folder, "restore.yml", "-e", "backup=latest")
    assert done.returncode == 4
    assert f"Type chmod o-w {folder}, then the same again. Nothing was touched." in done.stdout
