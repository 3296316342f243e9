"""How `make test` finds its interpreters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import environment
from tools.interpreters import RUNNING, Interpreter, find, probe


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The running version's name on PATH, as pyenv leaves it when another version is chosen: there, and failing."""
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return script(tmp_path / "shims" / f"python{RUNNING}", "echo 'command not found' >&2; exit 127")


def test_an_interpreter_that_does_not_start_is_none(shim: Path) -> None:
    assert probe(str(shim)) is None
    assert probe(str(shim.with_name("missing"))) is None
    assert find(RUNNING) is None


def test_behind_a_failing_shim_pyenvs_versions_are_looked_at(shim: Path, tmp_path: Path) -> None:
    script(tmp_path / "pyenv" / "versions" / f"{RUNNING}.0" / "bin" / shim.name, f'exec "{sys.executable}" "$@"')
    found = find(RUNNING)
    assert found is not None
    assert found.version == RUNNING


def test_a_name_that_hides_another_version_is_passed_over(shim: Path) -> None:
    script(shim.with_name("python3.99"), f'exec "{sys.executable}" "$@"')
    assert find("3.99") is None


def test_a_complete_interpreter_goes_before_one_that_lacks_something(shim: Path, tmp_path: Path) -> None:
    script(shim, f"""echo '["bare", "{RUNNING}", false, true]'""")
    other = tmp_path / "pyenv" / "versions" / f"{RUNNING}.0" / "bin" / shim.name
    script(other, f"""echo '["whole", "{RUNNING}", true, true]'""")
    assert find(RUNNING) == Interpreter("whole", RUNNING, True, True)
    other.unlink()
    bare = find(RUNNING)
    assert bare is not None
    assert bare.lacks == "venv and ensurepip"


def test_an_environment_that_is_called_like_a_version_is_of_that_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tools.environment 3.10 test` made `.venv/3.10` of the Python that ran it, and tests on it were of that one."""
    monkeypatch.setattr(environment, "find", lambda version: None)
    with pytest.raises(SystemExit, match=r"no usable Python 3\.10 "):
        environment.main("3.10", "test")
