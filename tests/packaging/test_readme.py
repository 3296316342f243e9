"""The README's promises name tests that are there, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", README)


def test_each_guarantee_names_a_test() -> None:
    cells = re.findall(r"\[(\d+)\] \|", README)
    notes = re.findall(r"^- \[(\d+)\] `tests/", README, re.MULTILINE)
    assert set(cells) == set(notes)
    assert len(cells) > 10


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_tests_are_there(path: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / path).read_text()


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    sent: list[object] = []
    names: dict[str, object] = {"__name__": "__main__", "send": sent.append}
    for example in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(example, names)
    assert sent == [{"invoice": 42}]
    assert capsys.readouterr().out == "ann\n(1, 'now')\n/index\n[0, 1, 4, 9]\n{'pages': ['/', '/about']} 4\n"
