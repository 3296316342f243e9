"""Each way to import a module gives the program ours, in its own modules and in those only."""

from __future__ import annotations

import shutil
import zipapp
import zipfile
from pathlib import Path

import platformdirs
import pytest

import pqadapters
from pqadapters.running import finder
from pqadapters.running.ownership import Ownership
from pqadapters.running.rewriting import Rewritten
from pqadapters.running.standins import StandIns

from .programs import Place

OURS = "pqadapters.stdlib."

FORMS = {
    "import queue": "queue.Queue",
    "import queue as q": "q.SimpleQueue",
    "from queue import Queue": "Queue",
    "from queue import (Empty,\n    LifoQueue as L)": "L",
    "from queue import *": "PriorityQueue",
    "import os, queue, sys as s": "queue.Queue",
    "import os; import queue; os": "queue.Queue",
    "if True: import queue": "queue.Queue",
    "try:\n    import queue\nexcept ImportError:\n    import Queue as queue": "queue.Queue",
    "try:\n    import Queue as queue\nexcept ImportError:\n    import queue": "queue.Queue",
    "try:\n    pass\nfinally:\n    import queue": "queue.Queue",
    "from \\\n    queue import Queue": "Queue",
    "def f():\n    from queue import Queue\n    return Queue": "f()",
    "def f():\n    global queue\n    import queue\nf()": "queue.Queue",
    "class C:\n    from queue import Queue": "C.Queue",
    "match 1:\n    case 1:\n        import queue": "queue.Queue",
    "with open(__file__):\n    import queue": "queue.Queue",
    "for _ in range(1):\n    pass\nelse:\n    import queue": "queue.Queue",
    "import importlib": "importlib.import_module('queue').Queue",
    "from importlib import import_module as load, import_module": "import_module('queue').Queue",
    "name = 'queue'": "__import__(name).Queue",
    "import queue\nimport importlib": "importlib.reload(__import__('sys').modules['queue']) and queue.Queue",
    "import asyncio": "asyncio.Queue",
    "import asyncio as a": "a.LifoQueue",
    "import asyncio.queues": "asyncio.queues.Queue",
    "import asyncio.subprocess": "asyncio.PriorityQueue",
    "import asyncio.queues as aq": "aq.Queue",
    "from asyncio import queues": "queues.Queue",
    "from asyncio import Queue": "Queue",
    "from asyncio.queues import Queue": "Queue",
    "from asyncio import *": "Queue",
    "import asyncio, importlib": "importlib.import_module('asyncio.queues').Queue",
    "import asyncio\nx = __import__('asyncio.queues')": "x.queues.Queue",
    "import shelve": "shelve.open",
    "from shelve import open as o": "o",
    "from shelve import *": "open",
    "import shelve as s": "s.DbfilenameShelf",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, tmp_path: Path) -> None:
    """In the main module and in another one, there a second time from what was kept of the first."""
    text = f"{form}\nprint(({FORMS[form]}).__module__)\n"
    place = Place(tmp_path, {"app.py": text + "import module\n", "module.py": text})
    for _ in range(2):
        for line in place.well("app.py"):
            assert line.startswith(OURS)


def test_a_source_that_is_nested_deep(tmp_path: Path) -> None:
    """Python's compiler goes deeper into a source than into a tree: such a module was silently not swapped."""
    text = f"import queue\nprint(queue.Queue.__module__, {'+'.join('1' * 1400)})\n"
    limit = "import sys\nprint(sys.getrecursionlimit())\n"
    place = Place(tmp_path, {"app.py": text + "import module\n" + limit, "module.py": text})
    assert place.well("app.py") == [*[f"{OURS}queue 1400"] * 2, "1000"]


def test_a_source_that_is_nested_too_deep_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_deep(*_: object) -> Rewritten:
        raise RecursionError

    monkeypatch.setattr(finder, "rewrite", too_deep)
    found = finder.Finder(StandIns({}), Ownership(()))
    with pytest.raises(RecursionError):
        found.rewritten("app", b"import queue", "app.py")
    assert "nothing is swapped in app.py" in capsys.readouterr().err
    with pytest.raises(SyntaxError):
        found.rewritten("app", b"import", "app.py")
    assert not capsys.readouterr().err


def test_relative_imports_are_the_programs(tmp_path: Path) -> None:
    inner = """
        from . import queue
        from .queue import Queue
        from .asyncio.queues import Queue as Other
        print(queue.Queue, Queue, Other)
    """
    files = {"queue.py": "Queue = 1\n", "asyncio/queues.py": "Queue = 2\n", "__init__.py": "", "inner.py": inner}
    place = Place(tmp_path, {"app.py": "import pack.inner\n", **{f"pack/{name}": text for name, text in files.items()}})
    assert place.well("app.py") == ["1 1 2"]


def test_what_isnt_swapped(tmp_path: Path) -> None:
    program = """
        import asyncio, queue, sys, importlib.util, asyncio.subprocess as sub
        from asyncio import sleep, subprocess
        real = sys.modules["queue"]
        print(real.Queue.__module__, real is queue, sub is subprocess is sys.modules["asyncio.subprocess"])
        aio = sys.modules["asyncio"]
        print(queue.Empty is real.Empty, asyncio.sleep is sleep, asyncio.QueueEmpty is aio.QueueEmpty)
        print(importlib.util.find_spec("queue").origin == real.__file__ == queue.__file__)
        def import_module(name):
            return name
        print(import_module("queue"))
    """
    place = Place(tmp_path, {"app.py": program})
    assert place.well("app.py") == ["queue False True", "True True True", "True", "queue"]


def test_a_stand_in_is_as_the_module(tmp_path: Path) -> None:
    program = """
        import copy, inspect, pickle, queue, shelve, asyncio, types, sys
        for module in (queue, shelve, asyncio):
            real = sys.modules[module.__name__]
            print(module, type(module).__name__, isinstance(module, types.ModuleType), inspect.ismodule(module))
            print(module.__name__, module.__file__, module.__spec__ is real.__spec__, module.__doc__ == real.__doc__)
            print(dir(module) == dir(real), module.__all__ == real.__all__, sorted(vars(module)) == sorted(vars(real)))
            print(inspect.getsource(module) == inspect.getsource(real), inspect.getmodule(module.__dict__.get("Queue")))
            for call in (pickle.dumps, copy.copy, copy.deepcopy):
                try:
                    call(module)
                except TypeError as error:
                    print(error)
            module.own = 1
            print(module.own, real.own, "own" in dir(module), "own" in vars(module))
            del module.own
            print(hasattr(module, "own"), hasattr(real, "own"), hasattr(module, "nothing"))
    """
    place = Place(tmp_path, {"app.py": program})
    ours, plain = place.well("app.py"), place.well("app.py", run=None)
    for line, other in zip(ours, plain, strict=True):
        assert line.partition(" <module")[0] == other.partition(" <module")[0]


def test_names_that_a_program_replaces(tmp_path: Path) -> None:
    """mock.patch.object, and `shelve.Pickler`, which our shelves use as well."""
    program = """
        import pickle, queue, shelve, sys
        from unittest import mock
        plain = queue.Queue
        with mock.patch.object(queue, "Queue", 1), mock.patch.object(queue, "heappush", 2):
            print(queue.Queue, sys.modules["queue"].Queue.__module__, sys.modules["queue"].heappush)
        print(queue.Queue is plain, callable(queue.heappush))
        class Loud(pickle.Pickler):
            def dump(self, value):
                print("pickled", value)
                super().dump(value)
        shelve.Pickler = Loud
        with shelve.open("shelf") as shelf:
            shelf["a"] = 1
        print(sys.modules["shelve"].Pickler is Loud)
    """
    place = Place(tmp_path, {"app.py": program})
    assert place.well("app.py") == ["1 queue 2", "True True", "pickled 1", "True"]


OWN = """
    import queue
    print(__name__, queue.Queue.__module__)
"""


def test_own_modules_and_others(tmp_path: Path) -> None:
    """Installed ones are left alone, in a virtual environment beside the program as well, unless --also names them."""
    place = Place(
        tmp_path,
        {
            "app.py": """
                import sys
                sys.path += [".venv/lib/python3/site-packages", "lib/dist-packages", "elsewhere"]
                import installed.part, debians, elsewhere, pack.inner, sched, logging.handlers
                print("logging", logging.handlers.queue.Queue.__module__)
            """,
            ".venv/lib/python3/site-packages/installed/__init__.py": OWN,
            ".venv/lib/python3/site-packages/installed/part.py": OWN,
            "lib/dist-packages/debians.py": OWN,
            "elsewhere/elsewhere.py": OWN,
            "pack/__init__.py": OWN,
            "pack/inner.py": OWN,
        },
    )
    plain, ours = "queue", "pqadapters.stdlib.queue"
    there = {"installed": plain, "installed.part": plain, "debians": plain, "elsewhere": ours, "pack": ours}
    there |= {"pack.inner": ours, "logging": plain}
    assert place.well("app.py") == [f"{name} {whose}" for name, whose in there.items()]
    there |= {"installed": ours, "installed.part": ours}
    path = str(place.directory / ".venv/lib/python3/site-packages")
    ended = place.start("--also", "installed.part", "app.py", env={"PYTHONPATH": path})
    assert ended.lines[:2] == [f"installed {ours}", f"installed.part {ours}"]
    assert place.start("--also", "installed", "app.py").status == 2  # it isn't there yet


def test_the_package_of_a_module_that_is_run_is_the_programs_own(tmp_path: Path) -> None:
    place = Place(
        tmp_path,
        {
            "site-packages/tool/__init__.py": OWN,
            "site-packages/tool/__main__.py": f"{OWN}    import other, tool.part\n",
            "site-packages/tool/part.py": OWN,
            "site-packages/other.py": OWN,
        },
    )
    ended = place.start("-m", "tool", inside="site-packages")
    whose = [line.split()[1] == "queue" for line in ended.lines]
    assert (ended.status, whose) == (0, [False, False, True, False])


@pytest.mark.parametrize("also", [[], ["--also", "gunicorn"]])
def test_what_runs_other_peoples_programs_is_installed_as_it_was(also: list[str], tmp_path: Path) -> None:
    """It hands on connections through its queues: they can't be stored, and are nothing of the program's."""
    place = Place(
        tmp_path,
        {
            ".venv/lib/python3/site-packages/gunicorn/__init__.py": OWN,
            ".venv/lib/python3/site-packages/gunicorn/__main__.py": f"{OWN}    import gunicorn.part, shop\n",
            ".venv/lib/python3/site-packages/gunicorn/part.py": OWN,
            "shop.py": OWN,
        },
    )
    path = str(place.directory / ".venv/lib/python3/site-packages")
    ended = place.start(*also, "-m", "gunicorn", env={"PYTHONPATH": path})
    whose = [line.split()[1] == "queue" for line in ended.lines]
    assert (ended.status, whose) == (0, [not also] * 3 + [False])


def test_only_some(tmp_path: Path) -> None:
    text = "import asyncio, asyncio.queues, queue, shelve\n"
    text += "print(*(x.__module__ for x in (asyncio.Queue, asyncio.queues.Queue, queue.Queue, shelve.open)))\n"
    place = Place(tmp_path, {"app.py": "import module\n", "module.py": text})
    plain = "asyncio.queues asyncio.queues queue shelve"
    for _ in range(2):  # what is kept of one choice isn't taken for another's
        assert place.well("--only", "queue", "app.py") == [plain.replace(" queue", f" {OURS}queue")]
        both = f"{OURS}asyncio {OURS}asyncio queue {OURS}shelve"
        assert place.well("--only=shelve, asyncio", "app.py") == [both]
        assert place.well("app.py", run=None) == [plain]


def test_a_module_of_the_programs_own_with_that_name(tmp_path: Path) -> None:
    """It is what the program means, and hides what our modules need; one that we have imported, and they don't, is
    the program's as well."""
    place = Place(
        tmp_path,
        {
            "own/app.py": "import queue, shelve\nprint(queue.x, shelve.open.__module__)\n",
            "own/queue.py": "x = 1\n",
            "broken/app.py": "import queue\n",
            "broken/queue.py": "1/0\n",
            "other/app.py": "import argparse, queue\nprint(argparse.x, queue.Queue.__module__)\n",
            "other/argparse.py": "x = 2\n",
            "files/app.py": """
                import argparse, logging, queue, sys
                print(argparse.FileType, logging.Logger is sys.modules["pqadapters.telling"].get_ready().Logger)
            """,
            "files/logging/debug.log": "",
            "files/argparse.txt": "",
        },
    )
    own = place.directory / "own" / "queue.py"
    said = f"pqadapters: nothing is swapped: the program's own {own} hides the standard library's queue\n"
    assert place.start("own/app.py") == place.start("app.py", inside="own") == (0, "1 shelve\n", said)
    assert place.start("broken/app.py").errors.endswith(place.start("broken/app.py", run=None).errors)
    assert place.well("other/app.py") == [f"2 {OURS}queue"]
    assert place.well("files/app.py") == ["<class 'argparse.FileType'> True"]
    mistaken = place.start("--also", "nothing", "other/app.py").errors
    assert mistaken.endswith("--also: no module named 'nothing'\n"), "the parser isn't the program's"


_HIDDEN = ("ast", "json", "random", "string", "tempfile", "traceback", "uuid")


@pytest.mark.parametrize("archive", [False, True])
def test_modules_of_the_programs_own_with_names_that_ours_need(archive: bool, tmp_path: Path) -> None:
    """A program with a string.py beside it, which no import of `queue` looks at, ended with an ImportError in our
    modules."""
    program = f"""
        import queue, shelve, {", ".join(_HIDDEN)}
        print({", ".join(f"{name}.x" for name in _HIDDEN)}, queue.Queue.__module__)
        jobs = queue.Queue(maxsize=2)
        jobs.put("a")
        jobs.put(lambda: 1)
        print(jobs.get(), jobs.get()())
        with shelve.open("shelf") as shelf:
            shelf["a"] = 1
            print(dict(shelf))
    """
    place = Place(tmp_path, {"own/__main__.py": program, **{f"own/{name}.py": "x = 1\n" for name in _HIDDEN}})
    command = "own/__main__.py"
    if archive:
        command = "own.pyz"
        zipapp.create_archive(place.directory / "own", place.directory / command)
    ended = place.start(command, env={"PQADAPTERS_HOME": "", "XDG_STATE_HOME": str(place.home)})
    ones = " 1" * len(_HIDDEN)
    assert ended.lines == [f"{ones[1:]} {OURS}queue", "a 1", "{'a': 1}"]
    assert "NotDurableWarning" in ended.errors


def test_pqadapters_in_an_archive(tmp_path: Path) -> None:
    """Its modules aren't files there, and nothing was swapped, without a word."""
    package = Path(pqadapters.__file__).parent
    with zipfile.ZipFile(tmp_path / "ours.zip", "w") as archive:
        for file in package.rglob("*.py"):
            archive.write(file, file.relative_to(package.parent))
    program = """
        import concurrent.futures, multiprocessing, pqadapters, queue
        def work(numbers):
            numbers.put(queue.Queue.__module__)
        if __name__ == "__main__":
            print("ours.zip" in pqadapters.__file__, queue.Queue.__module__)
            print(concurrent.futures.ThreadPoolExecutor.__module__)
            numbers = multiprocessing.Queue()
            child = multiprocessing.get_context("spawn").Process(target=work, args=(numbers,))
            child.start()
            print(numbers.get())
            child.join()
    """
    place = Place(tmp_path, {"app.py": program})
    ended = place.start("app.py", env={"PYTHONPATH": str(tmp_path / "ours.zip")})
    assert ended == (0, f"True {OURS}queue\npqadapters.concurrent.futures.thread\n{OURS}queue\n", "")


def test_run_in_an_archive_with_what_it_needs(tmp_path: Path) -> None:
    """The archive was taken off the path, and with it platformdirs, without which there is no home."""
    app = "import queue\nq = queue.Queue()\nq.put(1)\nprint(q.get(), queue.Queue.__module__)\n"
    place = Place(tmp_path, {"app.py": app})
    with zipfile.ZipFile(place.directory / "ours.pyz", "w") as archive:
        archive.writestr("__main__.py", "from pqadapters.__main__ import main\nmain()\n")
        for package in (Path(pqadapters.__file__).parent, Path(platformdirs.__file__).parent):
            for file in package.rglob("*.py"):
                archive.write(file, file.relative_to(package.parent))
    env = {"PQADAPTERS_HOME": "", "XDG_STATE_HOME": str(place.home)}
    ended = place.start("ours.pyz", "run", "app.py", run=None, python=["-S"], env=env)
    assert ended == (0, f"1 {OURS}queue\n", "")


def test_what_python_has_imported_before_any_program(tmp_path: Path) -> None:
    """As by a .pth file: the program's own is never found. Ours forgot it, and a program with a copyreg.py could pickle
    nothing."""
    app = "import copyreg, json, queue\nprint(hasattr(copyreg, 'x'), json.x)\n"
    files = {"own/copyreg.py": "x = 1\n", "own/json.py": "x = 1\n", "early/sitecustomize.py": "import copyreg\n"}
    place = Place(tmp_path, {"own/app.py": app, **files})
    env = {"PYTHONPATH": str(place.directory / "early")}
    assert place.start("own/app.py", env=env) == place.start("own/app.py", env=env, run=None) == (0, "False 1\n", "")


_LATE = {f"{name}.py": "x = 1\n" for name in ("random", "shutil", "tempfile")}


def test_a_temporary_home_where_the_program_has_a_tempfile_and_a_shutil(tmp_path: Path) -> None:
    """These are imported late: the program's own were found, and there was no home, or it was left behind."""
    program = """
        import os, queue, random, shutil, tempfile
        jobs = queue.Queue()
        jobs.put(jobs.get) if random.x == shutil.x == tempfile.x else None
        jobs.put(1)
        print(jobs.qsize(), len(os.listdir(os.environ["TMPDIR"])))
    """
    place = Place(tmp_path, {"ipython": program, **_LATE})
    place.home.mkdir(0o700)
    ended = place.start("ipython", env={"PQADAPTERS_HOME": "", "TMPDIR": str(place.home)})
    assert ended.lines == ["2 1"], ended.errors
    assert list(place.home.iterdir()) == []


def test_a_compiled_program_that_has_a_shutil(tmp_path: Path) -> None:
    program = "import queue, shutil\n__compiled__ = True\njobs = queue.Queue()\njobs.put(shutil.x)\nprint(jobs.get())\n"
    assert Place(tmp_path, {"app.py": program, **_LATE}).well("app.py") == ["1"]


def test_an_adopted_slot_goes_where_the_program_has_a_shutil(tmp_path: Path) -> None:
    """It was tried again in each run, and told of in each. The slot is a copy of the program's, which has ended."""
    program = """
        import os, queue, sys
        from pqadapters.stores.segment import directory
        remove = directory.remove
        def refuse(path, *more):
            if "/adopted-" in path:
                raise OSError("something else is in there")
            remove(path, *more)
        directory.remove = refuse
        jobs = queue.Queue()
        if sys.argv[1:]:
            jobs.put("a")
            os._exit(0)
        print(jobs.get(), jobs.get())
    """
    place = Place(tmp_path, {"app.py": program, **_LATE})
    place.well("app.py", "first")
    (slot,) = place.home.glob("*/*/0")
    shutil.copytree(slot, slot.parent / "1")
    ended = place.start("app.py")
    assert ended.lines == ["a a"]
    assert ended.errors == ""
    assert list(slot.glob("adopted-*")) == []


def test_a_program_that_hides_nothing_loads_nothing_more(tmp_path: Path) -> None:
    """Starts are fast: what is imported late isn't, and no mirror that isn't asked for."""
    text = """
        import sys
        loaded = {name for name in sys.modules if name.startswith("pqadapters.stdlib")}
        print(loaded | {"logging", "platformdirs", "shutil", "tempfile", "pqadapters.home"} & set(sys.modules))
    """
    assert Place(tmp_path, {"app.py": text, "own.py": ""}).well("app.py") == ["set()"]


def test_modules_of_an_archive(tmp_path: Path) -> None:
    place = Place(tmp_path, {"unused": ""})
    with zipfile.ZipFile(place.directory / "app.pyz", "w") as archive:
        archive.writestr(
            "__main__.py",
            "import importlib.util, queue\n"
            "spec = importlib.util.find_spec('module')\n"
            "import module, other, pack.inner\n"
            "print(queue.Queue.__module__)\n"
            "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n",
        )
        archive.writestr("module.py", "import queue\nprint(queue.Queue.__module__, __loader__, __file__)\n")
        archive.writestr("other.py", "import queue\nprint(queue.Queue.__module__)\n")
        archive.writestr("pack/__init__.py", "")
        archive.writestr("pack/inner.py", "import queue\nprint(queue.Queue.__module__, __spec__.name)\n")
    plain = place.start("app.pyz", run=None).out
    assert place.start("app.pyz").out == plain.replace("queue ", f"{OURS}queue ").replace("queue\n", f"{OURS}queue\n")
    assert place.start("app.pyz", "x").out != plain


def test_a_plugin_that_is_loaded_from_its_file(tmp_path: Path) -> None:
    """By the recipes of importlib's documentation; a second time from what was kept."""
    app = """
        import sys
        from importlib.machinery import SourceFileLoader
        from importlib.util import module_from_spec, spec_from_file_location

        def load(name, file, **options):
            spec = spec_from_file_location(name, file, **options)
            module = sys.modules[name] = module_from_spec(spec)
            options.get("loader", spec.loader).exec_module(module)
            return module.queue.Queue.__module__, sorted(vars(module)), module.__file__, module.__spec__.cached

        print(load("plugin", "plugins/first.py"))
        print(load("script", "plugins/script", loader=SourceFileLoader("script", "plugins/script")))
        print(spec_from_file_location("nothing", "plugins/nothing"))
    """
    place = Place(tmp_path, {"app.py": app, "plugins/first.py": "import queue\n", "plugins/script": "import queue\n"})
    plain = place.well("app.py", run=None)
    for _ in range(2):
        assert place.well("app.py") == [line.replace("('queue'", f"('{OURS}queue'") for line in plain]


def test_modules_without_source_are_left_alone(tmp_path: Path) -> None:
    app = "import bare\nprint(bare.queue.Queue.__module__)\n"
    place = Place(tmp_path, {"app.py": app, "bare.py": "import queue\n"})
    compiled = "import os, py_compile; py_compile.compile('bare.py', 'bare.pyc'); os.remove('bare.py')"
    assert place.start("-c", compiled, run=None).status == 0
    ended = place.start("--explain", "app.py")
    assert (ended.status, ended.out) == (0, "queue\n")
    assert f"bare: {place.directory / 'bare.pyc'}: there is no source of it" in ended.errors


def test_other_finders_keep_their_say(tmp_path: Path) -> None:
    """A finder that was put in front, one behind ours, one with a loader of its own; and Python's own modules."""
    program = """
        import sys, types, importlib.abc, importlib.machinery
        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path=None, target=None):
                return importlib.machinery.ModuleSpec(name, self) if name == self.name else None
            def exec_module(self, module):
                module.found = self.name
        for place, name in ((0, "first"), (len(sys.meta_path), "last"), (1, "shelve2")):
            finder = Finder(); finder.name = name
            sys.meta_path.insert(place, finder)
        import first, last, shelve2, time, zipimport, _symtable
        print(_symtable)
        print(first.found, last.found, shelve2.found, time.__spec__.origin, zipimport.__spec__.origin)
        import module, importlib
        print(importlib.reload(module) is module, type(module.__loader__).__name__, module.__cached__.count("opt"))
        print(module.__loader__.get_code("module").co_name, module.__spec__.loader is module.__loader__)
        print(module.__loader__.is_package("module"), module.__loader__.get_source("module"))
    """
    place = Place(tmp_path, {"app.py": program, "module.py": "import queue\n", "_symtable.py": "1/0\n"})
    assert place.well("app.py") == place.well("app.py", run=None)


def test_a_name_of_ours_that_is_deleted_and_put_back(tmp_path: Path) -> None:
    """As pytest's monkeypatch does. The standard library's was there in its place, and then ours in the standard
    library's module, for everybody."""
    program = """
        import queue, sys
        kept = queue.Queue
        del queue.Queue
        print(hasattr(queue, "Queue"), "Queue" in vars(queue), "Queue" in dir(queue), hasattr(queue, "LifoQueue"))
        try:
            del queue.Queue
        except AttributeError as error:
            print(error)
        try:
            queue.Queue
        except AttributeError as error:
            print(error)
        queue.Queue = kept
        print(queue.Queue is kept, "Queue" in vars(queue), "Queue" in dir(queue))
        print(sys.modules["queue"].Queue.__module__)
    """
    place = Place(tmp_path, {"app.py": program})
    assert place.well("app.py") == place.well("app.py", run=None)


def test_a_finder_of_the_old_kind_has_its_own_modules_alone(tmp_path: Path) -> None:
    """Where one stood behind ours nothing was swapped any more, on the versions that pass over it, too."""
    program = """
        import sys, types
        class Old:
            def find_module(self, name, path=None):
                return self if name == "old" else None
            def load_module(self, name):
                sys.modules[name] = types.ModuleType(name)
                return sys.modules[name]
        sys.meta_path.insert(1, Old())
        import module
        print(module.queue.Queue)
        try:
            import old
            print(old.__name__)
        except ImportError as error:
            print(error)
    """
    place = Place(tmp_path, {"app.py": program, "module.py": "import queue\n"})
    swapped, old = place.well("app.py")
    assert swapped == f"<class '{OURS}queue.Queue'>"
    assert old == place.well("app.py", run=None)[1]


def test_what_lies_where_run_was_started_isnt_imported(tmp_path: Path) -> None:
    """On 3.13 `import pqadapters` itself imported the queue.py that lies there, and found no ShutDown in it."""
    app = "import queue\ntry:\n    import shelf\nexcept ImportError as error:\n    print(error, queue.Queue)\n"
    place = Place(tmp_path, {"here/shelf.py": "1/0\n", "here/queue.py": "1/0\n", "there/app.py": app})
    ended = place.start("../there/app.py", inside="here")
    assert ended.lines == [f"No module named 'shelf' <class '{OURS}queue.Queue'>"]


def test_a_module_of_the_standard_librarys_is_its_own_with_m_too(tmp_path: Path) -> None:
    """`-m unittest` swapped asyncio in unittest.mock; the program's own tests are the program's."""
    program = """
        import queue, unittest, unittest.mock
        class Case(unittest.TestCase):
            def test(self):
                print(queue.Queue.__module__, type(unittest.mock.asyncio) is type(unittest))
    """
    own = "import queue\nprint(queue.Queue.__module__)\n"
    place = Place(tmp_path, {"test_own.py": program, "sched/__init__.py": "", "sched/tool.py": own})
    ended = place.start("-m", "unittest", "test_own")
    assert (ended.status, ended.out) == (0, "pqadapters.stdlib.queue True\n")
    assert place.well("-m", "sched.tool") == ["pqadapters.stdlib.queue"]  # which is the program's
