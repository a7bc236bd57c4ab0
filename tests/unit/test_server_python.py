"""tests/servers/python/sitecustomize.py: what is kept is the code of that source."""

from __future__ import annotations

import importlib.util
import zipfile
import zipimport
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[1] / "servers/python/sitecustomize.py"


@pytest.fixture
def kept(monkeypatch, tmp_path) -> Path:
    """The folder of what is kept, with the hook in place."""
    monkeypatch.setattr(zipimport, "_compile_source", zipimport._compile_source)  # put back after
    spec = importlib.util.spec_from_file_location("hook", HOOK)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    hook._KEPT = str(tmp_path / "kept")
    return tmp_path / "kept"


def _code(archive: Path, source: str):
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("shipped.py", source)
    return zipimport.zipimporter(str(archive)).get_code("shipped")


def _written(file: Path) -> tuple[int, int]:
    """Which file it is, and of when; not when it was read."""
    facts = file.stat()
    return facts.st_ino, facts.st_mtime_ns


def test_a_source_is_compiled_once_wherever_its_archive_lies(kept, tmp_path):
    source = "def where():\n    pass\n"
    first = _code(tmp_path / "a.zip", source)
    [file] = kept.iterdir()
    before = _written(file)
    again = _code(tmp_path / "b.zip", source)
    assert [_written(file) for file in kept.iterdir()] == [before]
    assert again.co_code == first.co_code
    [inner] = [found for found in again.co_consts if hasattr(found, "co_filename")]
    assert {again.co_filename, inner.co_filename} == {str(tmp_path / "b.zip/shipped.py")}


def test_another_source_is_another_code(kept, tmp_path):
    for word in ("one", "two"):  # of one length
        assert word in _code(tmp_path / f"{word}.zip", f"value = '{word}'\n").co_consts
    assert len(list(kept.iterdir())) == 2


def test_without_a_place_it_is_compiled(kept, tmp_path):
    kept.write_text("no folder")
    assert _code(tmp_path / "a.zip", "value = 1\n").co_names == ("value",)
