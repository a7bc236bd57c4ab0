"""The settings of older scripts, as they are written into a host's variables."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
from ansible.parsing.dataloader import DataLoader
from ansible.template import is_trusted_as_template

ROOT = Path(__file__).resolve().parents[2]
#: what YAML would take for something else than a text, or Ansible for a template
VALUES = [
    *("19:00", "5432", "0755", "1_000", "0x1f", "1e5", ".5", "true", "No", "null", "~", ""),
    *("2026-01-27", "=", "<<", "!x", "&x", "# x", "x: y", "[x]", "{x}", "{{ 1 + 1 }}", "{% if %}"),
    *("{# x #}", 'pa ss"{{ word }}', "back\\slash", "naïve\u2028line", "100%"),
]


def test_every_value_stays_the_text_that_it_was():
    template = ROOT / "roles/backup/templates/from_the_scripts.yml.j2"
    known = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True)
    known.filters["to_json"] = json.dumps
    known.globals["lookup"] = lambda *words, **named: "/opt/crm/backup-config.env"
    settings = {f"backup_{number}": value for number, value in enumerate(VALUES)}
    host = {"settings": settings, "inventory_hostname": "db1"}
    text = known.from_string(template.read_text()).render(host)
    loaded = DataLoader().load(text)
    assert {name: str(value) for name, value in loaded.items()} == settings
    assert all(isinstance(value, str) for value in loaded.values())
    braces = [value for value in loaded.values() if "{" in value]
    assert not any(is_trusted_as_template(value) for value in braces)
