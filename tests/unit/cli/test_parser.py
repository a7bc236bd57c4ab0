"""How the command line asks."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.cli import parser
from postgres_backup.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Command:
    name: str = "dig"
    help: str = "dig a hole"
    arguments: tuple[parser.Argument, ...] = (
        parser.Argument("--deep", action="store_true", help="to the water"),
        parser.Argument("--with", type=parser.names, default=(), dest="tools"),
        parser.Argument("place"),
    )
    examples: tuple[str, ...] = ("dig here",)


def test_a_command_takes_its_own_arguments_and_the_common_ones_before_or_after_its_name():
    built = parser.build([Command()])
    asked = built.understand(["--json", "dig", "garden", "--deep", "--config", "x.env"])
    assert (asked.command, asked.place, asked.deep, asked.tools) == ("dig", "garden", True, ())
    assert (asked.json, asked.config) == (True, "x.env")
    assert built.understand(["dig", "--with", "spade, pick", "here"]).tools == ["spade", "pick"]


def test_help_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as ended:
        parser.build([Command()]).understand(["dig", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for words in ("Dig a hole.", "to the water", "--log-format", "--journald"):
        assert words in shown


@pytest.mark.parametrize("typed", [[], ["bury"], ["dig"], ["dig", "here", "there"]], ids=" ".join)
def test_wrong_usage_is_an_error_that_leads_to_the_help(typed):
    with pytest.raises(UsageError, match="Failed to understand the command") as caught:
        parser.build([Command()]).understand(typed)
    assert "--help" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", []),
        ("users", ["users"]),
        ("users, public.orders,", ["users", "public.orders"]),
        ('users,"odd, one"', ["users", '"odd, one"']),
        ('public."a,b".*', ['public."a,b".*']),
    ],
)
def test_names_between_commas(typed, meant):
    assert parser.names(typed) == meant


def test_the_private_keys_of_a_file(tmp_path):
    file = tmp_path / "key.txt"
    file.write_text("# created: today\nAGE-SECRET-KEY-1AAA\n\n  \nAGE-SECRET-KEY-1BBB \n")
    assert parser.private_keys(str(file)) == ("AGE-SECRET-KEY-1AAA", "AGE-SECRET-KEY-1BBB")
    assert parser.private_keys("") == ()


def test_a_key_file_that_is_none(tmp_path):
    with pytest.raises(UsageError, match=r"Failed to read the key file .*No such file"):
        parser.private_keys(str(tmp_path / "none"))
    (tmp_path / "public.txt").write_text("age1xyz\n")
    with pytest.raises(UsageError, match="There is no private key in"):
        parser.private_keys(str(tmp_path / "public.txt"))


@pytest.mark.parametrize("typed", ["nan", "inf", "-1", "1e300", "99999999999", "x", "", "9" * 5000])
def test_what_is_no_number_of_days_is_wrong_usage(typed):
    with pytest.raises(UsageError, match="no number of days") as caught:
        parser.days(typed)
    assert len(caught.value.message) < 100
    assert parser.days("0.5") == 0.5
