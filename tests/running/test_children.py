"""What multiprocessing starts has the same swaps, however it starts it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from .programs import RUN, Place

OURS = "pqadapters.stdlib."
METHODS = ["fork", "spawn", "forkserver"]

#: What a child says: whose classes it has, in the main module and in another one.
PROGRAM = """
    import multiprocessing, queue, sys
    from concurrent.futures import ProcessPoolExecutor
    import own
    import site_of_others

    class Item:
        def __init__(self, number):
            self.number = number

    def told(*_):
        return queue.Queue.__module__, own.whose(), site_of_others.whose(), __name__

    def child(connection, item):
        connection.send((told(), type(item) is Item, item.number))
        if item.number:
            start(item.number - 1, connection)

    def start(number, connection):
        process = multiprocessing.Process(target=child, args=(connection, Item(number)))
        process.start()
        process.join()
        assert process.exitcode == 0

    def main():
        multiprocessing.set_start_method(sys.argv[1])
        if len(sys.argv) > 2:
            multiprocessing.set_forkserver_preload(sys.argv[2:])
        here, there = multiprocessing.Pipe()
        start(1, there)
        print(here.recv())
        print(here.recv())
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1])) as pool:
            print(list(pool.map(told, [1])))
        with multiprocessing.Pool(1) as pool:
            print(pool.map(told, [1]))

    if __name__ == "__main__":
        main()
"""
WHOSE = """
    import queue
    def whose():
        return queue.SimpleQueue.__module__
"""
FILES = {"app.py": PROGRAM, "own.py": WHOSE, "site_of_others/__init__.py": "from .part import whose\n"}
FILES["site_of_others/part.py"] = """
    import os, sys
    sys.path.append(os.path.abspath(f"{__file__}/../../site-packages"))
    from installed import whose
"""
FILES["site-packages/installed.py"] = WHOSE


def check(place: Place, *arguments: str) -> None:
    plain, ours = place.well(*arguments, run=None), place.well(*arguments)
    assert len(ours) == 4
    swapped = "('pqadapters.stdlib.queue', 'pqadapters.stdlib.queue', '_queue'"
    assert ours == [line.replace("('queue', '_queue', '_queue'", swapped) for line in plain]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("program", ["app.py", "-m app", "-m pack.inner"])
def test_children_and_grandchildren(method: str, program: str, tmp_path: Path) -> None:
    check(Place(tmp_path, {**FILES, "pack/__init__.py": "", "pack/inner.py": PROGRAM}), *program.split(), method)


@pytest.mark.parametrize("preload", [["own"], ["__main__"], ["__main__", "own"], []])
def test_what_a_forkserver_has_imported(preload: list[str], tmp_path: Path) -> None:
    check(Place(tmp_path, FILES), "app.py", "forkserver", *preload)


@pytest.mark.parametrize("method", METHODS)
def test_a_directory_and_an_archive(method: str, tmp_path: Path) -> None:
    """multiprocessing imports no main module for them: what children run is in other modules."""
    main = "import work, sys, zipimport\nif __name__ == '__main__':\n    work.main()\n"
    place = Place(tmp_path, {**FILES, "pack/__main__.py": main, "pack/work.py": PROGRAM, "pack/own.py": WHOSE})
    for name in ("site_of_others", "site-packages"):
        shutil.copytree(place.directory / name, place.directory / "pack" / name)
    check(place, "pack", method)
    with zipfile.ZipFile(place.directory / "app.pyz", "w") as archive:
        for path in (place.directory / "pack").rglob("*.py"):
            archive.write(path, path.relative_to(place.directory / "pack"))
    check(place, "app.pyz", method)


#: What ours import: plain Python runs a program that has modules of its own by these names.
HIDING = ("ast", "datetime", "mmap", "sqlite3", "zlib")


@pytest.mark.parametrize("inside", [".", "own"])
@pytest.mark.parametrize("how", [*METHODS, "forkserver __main__", "forkserver ast"])
def test_modules_of_the_programs_own_that_ours_need(how: str, inside: str, tmp_path: Path) -> None:
    """Children had the program's directory in their path before they imported ours, and ended with an ImportError."""
    names = ", ".join((*HIDING, "array") if how == "spawn" else HIDING)  # multiprocessing imports it
    program = f"""
        import multiprocessing, queue, sys
        import {names}

        def child(connection, number):
            jobs = queue.Queue()
            jobs.put(number)
            own = [hasattr(module, "x") for module in ({names})]
            connection.send((jobs.get(), queue.Queue.__module__, own, sys.path))
            if number:
                start(number - 1, connection)

        def start(number, connection):
            process = multiprocessing.Process(target=child, args=(connection, number))
            process.start()
            process.join()
            assert process.exitcode == 0

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            multiprocessing.set_forkserver_preload(sys.argv[2:])
            here, there = multiprocessing.Pipe()
            start(1, there)
            print(here.recv(), here.recv(), sep="\\n")
    """
    place = Place(tmp_path, {"own/app.py": program, **{f"own/{name}.py": "x = 1\n" for name in names.split(", ")}})
    arguments = [str(place.directory / "own" / "app.py"), *how.split()]
    plain, ours = (place.start(*arguments, run=run, inside=inside) for run in (None, RUN))
    assert len(ours.lines) == 2
    assert ours == plain._replace(out=plain.out.replace("'queue'", f"'{OURS}queue'"))


def test_a_child_of_a_program_that_hides_nothing_loads_nothing_more(tmp_path: Path) -> None:
    program = """
        import multiprocessing, sys
        def child():
            print({name for name in sys.modules if name.startswith(("pqadapters.stdlib", "logging", "platformdirs"))})
        if __name__ == "__main__":
            process = multiprocessing.get_context("spawn").Process(target=child)
            process.start()
            process.join()
    """
    assert Place(tmp_path, {"app.py": program, "own.py": ""}).well("--only", "shelve", "app.py") == ["set()"]


@pytest.mark.parametrize("method", METHODS)
def test_a_daemon_that_has_changed_its_directory(method: str, tmp_path: Path) -> None:
    program = PROGRAM.replace("        here, there", "        import os; os.chdir('/')\n        here, there")
    check(Place(tmp_path, {**FILES, "app.py": program}), "app.py", method)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_fails(method: str, tmp_path: Path) -> None:
    """Its traceback is what it would be, its options are the program's."""
    program = """
        import multiprocessing, queue, sys
        def fails():
            print(queue.Queue.__module__, file=sys.stderr)
            1/0
        if __name__ == "__main__":
            process = multiprocessing.get_context(sys.argv[1]).Process(target=fails)
            process.start()
            process.join()
            sys.exit(process.exitcode)
    """
    place = Place(tmp_path, {"app.py": program})
    plain, ours = place.start("app.py", method, run=None), place.start("--only", "queue", "app.py", method)
    assert ours == plain._replace(errors="pqadapters.stdlib." + plain.errors)
    assert place.start("--only", "shelve", "app.py", method) == plain


def test_other_programs_are_others(tmp_path: Path) -> None:
    """A program that is started as one isn't run by us; it is what it was."""
    program = """
        import queue, subprocess, sys
        print(queue.Queue.__module__, flush=True)
        if not sys.argv[1:]:
            subprocess.run([sys.executable, __file__, "again"], check=True)
    """
    assert Place(tmp_path, {"app.py": program}).well("app.py") == ["pqadapters.stdlib.queue", "queue"]
