"""tests/services/callbacks/payloads.py: packed modules are kept only for the files they are of."""

from __future__ import annotations

from ansible import constants

from tests.services.callbacks import payloads


def test_any_change_of_a_file_gives_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DEFAULT_MODULE_PATH", [str(tmp_path / "library")])
    monkeypatch.setattr(constants, "DEFAULT_MODULE_UTILS_PATH", [str(tmp_path / "module_utils")])
    module, shared = tmp_path / "library/a.py", tmp_path / "module_utils/package/b.py"
    seen = [payloads._made_of()]
    for change in (
        lambda: module.parent.mkdir() or module.write_text("1"),
        lambda: module.write_text("2"),
        lambda: shared.parent.mkdir(parents=True) or shared.write_text("1"),
        lambda: shared.write_text("2"),
        lambda: shared.rename(shared.with_name("c.py")),
    ):
        change()
        seen.append(payloads._made_of())
    assert len(set(seen)) == len(seen)
