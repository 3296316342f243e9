"""The command line of `run`, of `python -m pqadapters`, and what `--explain` says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import pqadapters

from .programs import Place

APP = "import queue, sys\nprint(queue.Queue.__module__, sys.argv[1:])\n"
#: Hides click and rich, as if they weren't installed.
WITHOUT = """
    import sys
    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("click", "rich"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {"app.py": APP, "hidden/sitecustomize.py": WITHOUT})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "there is no program"),
        ("--explain", "there is no program"),
        ("-m", "there is no program"),
        ("--only queue", "there is no program"),
        ("--only", "--only: expected one argument"),
        ("--only quue app.py", "--only: invalid choice: quue (choose from queue, shelve, asyncio"),
        ("--only queue,asyncio.queues app.py", "invalid choice: asyncio.queues"),
        ("--only , app.py", "invalid choice: ''"),
        ("--also nothing_of_that_name app.py", "--also: no module named 'nothing_of_that_name'"),
        ("--also ./package app.py", "--also: no module named './package'"),
        ("--also pqadapters app.py", "--also: pqadapters itself"),
        ("--unknown app.py", "unrecognized arguments: --unknown"),
        ("--exp app.py", "unrecognized arguments: --exp"),
    ],
)
def test_mistakes(arguments: str, said: str, place: Place) -> None:
    ended = place.start(*arguments.split())
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.errors
    assert ended.errors.startswith("usage: python -m pqadapters run ")


def test_a_module_without_a_name(place: Place) -> None:
    """A variable of the shell that isn't set: it ran whatever `__main__` there was in the working directory."""
    (place.directory / "__main__.py").write_text("print('another program')")
    for more in ([], ["--explain"]):
        ended = place.start(*more, "-m", "")
        assert (ended.status, ended.out) == (2, "")
        assert "argument -m: it is empty" in ended.errors


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        ("app.py", []),
        ("--explain app.py --explain -m x --only", ["--explain", "-m", "x", "--only"]),
        ("--only queue --only shelve --also json app.py -h", ["-h"]),
        ("--only=queue --also=json app.py --", ["--"]),
        ("-- app.py -x", ["-x"]),
        ("-m app --also", ["--also"]),
        ("-mapp run", ["run"]),
        ("--explain -m app -m", ["-m"]),
    ],
)
def test_what_is_the_programs(arguments: str, rest: list[str], place: Place) -> None:
    ended = place.start(*arguments.split())
    assert (ended.status, ended.out) == (0, f"pqadapters.stdlib.queue {rest}\n")


def test_help(place: Place) -> None:
    ended = place.start("--help")
    assert (ended.status, ended.errors) == (0, "")
    assert "--only" in ended.out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_click_there_is_a_short_help(arguments: list[str], place: Place) -> None:
    """With -S there is no site-packages: the path is given by hand."""
    ended = place.start(*arguments, run=["-m", "pqadapters"], env={"PYTHONPATH": str(place.directory / "hidden")})
    assert (ended.status, ended.errors) == (0, "")
    assert "run" in ended.out
    assert 'pip install "pqadapters[cli]"' in ended.out


def test_the_version_is_told_with_and_without_click(place: Place) -> None:
    for env in ({}, {"PYTHONPATH": str(place.directory / "hidden")}):
        ended = place.start("--version", run=["-m", "pqadapters"], env=env)
        assert ended == (0, f"pqadapters, version {pqadapters.__version__}\n", "")


def test_without_click_other_commands_name_the_extra(place: Place) -> None:
    hidden = {"PYTHONPATH": str(place.directory / "hidden")}
    ended = place.start("homes", run=["-m", "pqadapters"], env=hidden)
    assert (ended.status, ended.out) == (2, "")
    assert 'pip install "pqadapters[cli]"' in ended.errors
    assert place.start("app.py", env=hidden).out == "pqadapters.stdlib.queue []\n"


def test_run_imports_neither_click_nor_rich(tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": "import queue, sys\nprint({'click', 'rich'} & set(sys.modules))\n"})
    assert place.well("app.py") == ["set()"]


def explained(place: Place, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """What --explain says, by its titles."""
    said: dict[str, list[str]] = {}
    for line in place.start("--explain", *arguments, env=env).errors.splitlines():
        if line.startswith("pqadapters: "):
            said[line.removeprefix("pqadapters: ")] = []
        elif line.startswith("  ") and said:
            said[list(said)[-1]].append(line.strip())
    return said


EXPLAINED = """
    import queue, shelve, sys
    from queue import (Queue,
                       Empty)
    import module
    def main():
        done = Queue()
        done.put(1); done.get(); done.task_done()
        left = queue.LifoQueue()
        left.put(2); left.put(3)
        dropped = queue.PriorityQueue()
        dropped.put(4)
        unused = queue.Queue()
        with shelve.open("settings") as settings:
            settings["a"] = 1
        return left
    left = main()
    print(left.get())
    if sys.argv[1:]:
        1/0
"""


@pytest.mark.parametrize("fails", [[], ["fail"]])
def test_explain(fails: list[str], tmp_path: Path) -> None:
    """Each time anew, also where code was kept of an earlier run."""
    place = Place(tmp_path, {"app.py": EXPLAINED, "module.py": "import asyncio.queues\nimport json\n"})
    place.well("app.py")
    shutil.rmtree(place.home)
    said = explained(place, "app.py", *fails)
    app, module = place.directory / "app.py", place.directory / "module.py"
    assert said["swapped"] == [
        f"__main__ ({app}): line 1: queue; line 1: shelve; line 2: Queue, Empty from queue",
        f"module ({module}): line 1: asyncio.queues",
    ]
    (directory,) = place.home.iterdir()
    learnt = "when an item is done wasn't learnt yet"
    assert said["shelves"] == [f"{place.directory / 'settings'}: durable"]
    done = f"__main__.main in {directory}/__main__.main-0: an item is done by task_done(); 0 items left"
    assert done in said["queues"]
    left = "the next get, or a normal exit" if not fails else "wasn't learnt yet"
    assert any("__main__.main-1/" in line and left in line for line in said["queues"])
    assert f"__main__.main in {directory}/__main__.main-2: {learnt}; 1 item left" in said["queues"]
    assert "__main__.main: nothing was put" in said["queues"]


def test_explain_says_what_was_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": "import queue\n"})
    assert explained(place, "--also", "argparse", "app.py")["left alone"] == [
        "argparse: it was imported before the program began"
    ]


QUEUES = """
    import multiprocessing
    def make():
        return multiprocessing.Queue()
    def drop():
        q = multiprocessing.SimpleQueue()
        q.put(1)
        q.put(2)
    if __name__ == "__main__":
        closed, unused = make(), make()
        closed.put(1)
        closed.close()
        drop()
        kept = multiprocessing.JoinableQueue()
        kept.put(1)
        kept.put(2)
        kept.get()
        kept.task_done()
"""


def test_explain_says_where_the_queues_of_processes_are(tmp_path: Path) -> None:
    """Closed ones had "nothing was put", and open ones were named twice."""
    place = Place(tmp_path, {"app.py": QUEUES})
    said = explained(place, "app.py")["queues"]
    (directory,) = place.home.iterdir()
    by_next = "an item is done by the next get, or a normal exit"
    assert sorted(said) == [
        f"__main__ in {directory}/processes.db, as '__main__-0.0': an item is done by task_done(); 1 item left",
        f"__main__.drop in {directory}/processes.db, as '__main__.drop-0.0': 2 items left",
        f"__main__.make in {directory}/processes.db, as '__main__.make-0.0': {by_next}; 1 item left",
        "__main__.make: nothing was put",
    ]


def test_explain_says_what_a_child_has_learnt(tmp_path: Path) -> None:
    program = """
        import multiprocessing
        def work(jobs):
            jobs.get()
            jobs.task_done()
        if __name__ == "__main__":
            jobs = multiprocessing.JoinableQueue()
            jobs.put(1)
            child = multiprocessing.Process(target=work, args=(jobs,))
            child.start()
            child.join()
    """
    (said,) = explained(Place(tmp_path, {"app.py": program}), "app.py")["queues"]
    assert said.endswith(": an item is done by task_done(); 0 items left")


def test_explain_says_what_others_have_loaded(tmp_path: Path) -> None:
    """An import hook that stands in front of ours, as pytest's does, was passed over in silence."""
    program = """
        import sys
        from importlib.machinery import PathFinder
        class Hook(PathFinder):
            pass
        sys.meta_path.insert(0, Hook)
        import uses, without
        del sys.meta_path[0]
        import late
    """
    files = {"app.py": program, "uses.py": "import queue\n", "without.py": "", "late.py": "import queue\n"}
    place = Place(tmp_path, {**files, "early/sitecustomize.py": "import queue, uses_early\n"})
    (place.directory / "early" / "uses_early.py").write_text("import queue\n")
    early = {"PYTHONPATH": str(place.directory / "early")}
    said = explained(place, "app.py", env=early)
    assert sorted(said["left alone"]) == [
        f"sitecustomize: {place.directory}/early/sitecustomize.py: it was imported before the program began",
        f"uses: {place.directory}/uses.py: another import hook was asked first",
        f"uses_early: {place.directory}/early/uses_early.py: it was imported before the program began",
    ]
    assert said["swapped"] == [f"late ({place.directory}/late.py): line 1: queue"]


def test_explain_is_said_where_the_program_leaves_another_stderr(tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": "import io, queue, sys\nsys.stderr = io.StringIO()\n"})
    assert [line.partition(": ")[2] for line in explained(place, "app.py")["swapped"]] == ["line 1: queue"]


def test_explain_is_said_by_the_process_that_was_started(tmp_path: Path) -> None:
    program = """
        import multiprocessing, os, queue, sys
        def child():
            q = queue.Queue()
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                process = multiprocessing.get_context(method).Process(target=child)
                process.start()
                process.join()
            pid = os.fork()
            if not pid:
                sys.exit()
            os.waitpid(pid, 0)
    """
    place = Place(tmp_path, {"app.py": program})
    assert place.start("--explain", "app.py").errors.count("pqadapters: swapped") == 1


def test_explain_of_a_program_with_nothing_in_it(tmp_path: Path) -> None:
    assert explained(Place(tmp_path, {"app.py": ""}), "app.py") == {"swapped: nothing": []}


EXECUTORS = """
    from concurrent.futures import ThreadPoolExecutor
    def done():
        with ThreadPoolExecutor() as executor:
            executor.submit(print, 1).result()
    def left():
        executor = ThreadPoolExecutor()
        executor.using(delay=600).submit(print, 2)
        executor.shutdown(drain=False)
    done(), left()
    unused = ThreadPoolExecutor()
"""


def test_explain_says_where_the_jobs_of_executors_are(tmp_path: Path) -> None:
    """Where queues were used as well they were told as such, of which it "wasn't learnt yet" when an item is done."""
    place = Place(tmp_path, {"app.py": EXECUTORS})
    said = explained(place, "app.py")
    (directory,) = place.home.iterdir()
    when = "a job is done when its outcome is stored"
    assert said["executors"] == [
        "__main__-executor: nothing was submitted",
        f"__main__.done-executor in {directory}/__main__.done-executor-0: {when}; 0 jobs left",
        f"__main__.left-executor in {directory}/__main__.left-executor-0: {when}; 1 job left",
    ]
    assert "queues" not in said


def test_explain_shows_no_terminal_what_it_would_obey(tmp_path: Path) -> None:
    place = Place(tmp_path, {"\x1b[31mred.py": "import queue\nqueue.Queue()\n"})
    (said,) = explained(place, "\x1b[31mred.py")["swapped"]
    assert "\\x1b[31mred.py" in said
    assert "\x1b" not in said
