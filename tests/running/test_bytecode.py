"""Rewritten code is kept beside Python's own, which never sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .programs import Place

APP = {"app.py": "import module\n", "module.py": "import queue\nprint(queue.Queue.__module__)\n"}
OURS, PLAIN = ["pqadapters.stdlib.queue"], ["queue"]


def kept(place: Place) -> set[str]:
    return {path.name.partition(".")[2].partition("-")[2] for path in place.directory.glob("__pycache__/module.*")}


def test_python_never_sees_it(tmp_path: Path) -> None:
    place = Place(tmp_path, APP)
    for _ in range(2):
        assert place.well("app.py") == OURS
        assert place.well("app.py", run=None) == PLAIN
    assert sorted(".opt-pqadapters" in name for name in kept(place)) == [False, True]


def test_it_is_used(tmp_path: Path) -> None:
    """It is read rather than made anew: a change that leaves size and time as they were isn't seen, as in Python."""
    place = Place(tmp_path, APP)
    source = place.directory / "module.py"
    assert place.well("app.py") == OURS
    before = source.stat()
    source.write_text(source.read_text().replace("Queue.", "Empty."))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert place.well("app.py") == OURS
    os.utime(source)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000_000_000))
    assert place.well("app.py") == ["_queue"]


def test_what_has_nothing_to_swap_is_remembered_too(tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": "import module\n", "module.py": "'''import queue'''\nprint(1)\n"})
    assert place.well("app.py") == place.well("app.py") == ["1"]
    assert len(kept(place)) == 2


@pytest.mark.parametrize("options", [["-O"], ["-OO"]])
def test_optimised_code_is_another(options: list[str], tmp_path: Path) -> None:
    place = Place(tmp_path, {**APP, "module.py": "import queue\nassert 0\nprint(queue.Queue.__module__)\n"})
    assert place.start("app.py").status == 1
    assert place.well("app.py", python=options) == OURS
    assert place.start("app.py").status == 1
    assert len(kept(place)) == 2


def test_another_choice_is_another(tmp_path: Path) -> None:
    place = Place(tmp_path, APP)
    for _ in range(2):
        assert place.well("--only", "shelve", "app.py") == PLAIN
        assert place.well("app.py") == OURS


def test_a_module_that_is_executed_again_is_what_its_source_is_then(tmp_path: Path) -> None:
    again = """
        import module
        with open(module.__file__, "a") as file:
            file.write("print('more')\\n")
        module.__spec__.loader.exec_module(module)
        """
    assert Place(tmp_path, {**APP, "app.py": again}).well("app.py") == [*OURS, *OURS, "more"]


def test_nothing_is_written_where_python_writes_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, APP)
    assert place.well("app.py", python=["-B"]) == OURS
    assert place.start("app.py", env={"PYTHONDONTWRITEBYTECODE": "1"}).lines == OURS
    assert not (place.directory / "__pycache__").exists()
    elsewhere = tmp_path / "cache"
    assert place.start("app.py", env={"PYTHONPYCACHEPREFIX": str(elsewhere)}).lines == OURS
    assert not (place.directory / "__pycache__").exists()
    assert len(list(elsewhere.rglob("module.*opt-pqadapters*"))) == 1


def test_a_directory_that_cant_be_written(tmp_path: Path) -> None:
    """A file in the way stands for it: root may write everywhere."""
    place = Place(tmp_path, {**APP, "__pycache__": "in the way"})
    assert place.well("app.py") == OURS


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 16, b"\0" * 400, b"0", b"T"])
def test_damaged_bytecode_is_made_anew(damage: bytes, tmp_path: Path) -> None:
    place = Place(tmp_path, APP)
    assert place.well("app.py") == OURS
    (path,) = place.directory.glob("__pycache__/module.*pqadapters*")
    whole = path.read_bytes()
    path.write_bytes(whole[:16] + damage)
    assert place.well("app.py") == OURS
    assert path.read_bytes() == whole


def test_a_directory_that_was_moved(tmp_path: Path) -> None:
    """Tracebacks name files where they are."""
    place = Place(tmp_path, {**APP, "module.py": "import queue\nprint((lambda: 0).__code__.co_filename)\n"})
    assert place.well("app.py") == [str(place.directory / "module.py")]
    place.directory.rename(tmp_path / "moved")
    place.directory = tmp_path / "moved"
    assert place.well("app.py") == [str(place.directory / "module.py")]
