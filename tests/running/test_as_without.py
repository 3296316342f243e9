"""Output, tracebacks and exit statuses are those of plain Python, to the letter. Each program has a swapped import."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .programs import RUN, Ended, Place

SHOW = """
import sys, queue
assert queue.Queue.__module__ == DURABLE
for name, value in list(globals().items()):
    kind = type(value).__name__
    print(name, kind, value if kind in ("str", "NoneType", "dict") else getattr(value, "__name__", ""))
print(__spec__ and (__spec__.name, __spec__.origin, __spec__.cached, __spec__.has_location, __spec__.parent))
print(__loader__.name, __loader__.path) if hasattr(__loader__, "path") else print(__loader__)
print(sys.argv, sys.path, sys.modules["__main__"].__dict__ is globals(), sys.flags, sys.warnoptions)
import __main__
print(__main__, dir(__main__), __main__.__builtins__)
"""


def same(place: Place, *arguments: str, **how: object) -> Ended:
    """How it ends, under `run` as without."""
    plain = place.start(*arguments, run=None, **how)  # type: ignore[arg-type]
    ours = place.start(*arguments, **how)  # type: ignore[arg-type]
    assert _told(ours) == _told(plain)
    return plain


def _told(ended: Ended) -> Ended:
    return Ended(ended.status, *(re.sub(r"\b0x[0-9a-f]+", "0x", text) for text in ended[1:]))


def shown(tmp_path: Path) -> Place:
    text = SHOW.replace("== DURABLE", "in ('queue', 'pqadapters.stdlib.queue')")
    return Place(tmp_path, {"show.py": text, "pack/__init__.py": "", "pack/__main__.py": text, "pack/inner.py": text})


@pytest.mark.parametrize(
    "arguments",
    [
        "show.py a -x --explain",
        "./show.py",
        "../program/show.py",
        "-m show a --only",
        "-m pack -m b",
        "-m pack.inner",
        "pack a",
    ],
)
def test_the_main_module(arguments: str, tmp_path: Path) -> None:
    assert same(shown(tmp_path), *arguments.split()).status == 0


def test_an_absolute_path_a_link_and_another_directory(tmp_path: Path) -> None:
    place = shown(tmp_path)
    (place.directory / "elsewhere").mkdir()
    (place.directory / "elsewhere" / "link").symlink_to("../show.py")
    assert same(place, str(place.directory / "show.py"), inside="elsewhere").status == 0
    assert same(place, "elsewhere/link").status == 0
    assert same(place, "../pack", inside="elsewhere").status == 0


def test_an_archive(tmp_path: Path) -> None:
    place = shown(tmp_path)
    with zipfile.ZipFile(place.directory / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", SHOW.replace("== DURABLE", "in ('queue', 'pqadapters.stdlib.queue')") + "1/0\n")
    assert same(place, "app.pyz", "a").status == 1


@pytest.mark.parametrize("python", [[], ["-I"], ["-W", "error"]])
def test_standard_input(python: list[str], tmp_path: Path) -> None:
    place = shown(tmp_path)
    program = (place.directory / "show.py").read_text()
    if not python:
        program += "import pack\n"  # from the directory that it is started in
    assert same(place, "-", "a", "--only", given=program, python=python).status == 0
    assert place.start("-", given="import queue\nprint(queue.Queue.__module__)").out == "pqadapters.stdlib.queue\n"


@pytest.mark.parametrize(
    "text", ["def f():\n    1/0\nf()", "x = = 1", "print(input())", "raise SystemExit(3)", "import os; os.abort()", ""]
)
def test_ends_of_standard_input(text: str, tmp_path: Path) -> None:
    same(Place(tmp_path, {"x.py": ""}), "-", given=f"import queue\n{text}\n")


@pytest.mark.parametrize("arguments", [".", "./", "./pack", "../program/."])
def test_a_directory_that_is_named_in_another_way(arguments: str, tmp_path: Path) -> None:
    place = shown(tmp_path)
    assert same(place, arguments, "a").status == int(arguments != "./pack")
    (place.directory / "show.py").rename(place.directory / "__main__.py")
    assert same(place, arguments, "a").status == 0


def test_bytecode_as_a_script(tmp_path: Path) -> None:
    place = shown(tmp_path)
    compiled = "import py_compile; py_compile.compile('show.py', 'bare.pyc')"
    assert place.start("-c", compiled, run=None).status == 0
    assert same(place, "bare.pyc").status == 0


@pytest.mark.parametrize(
    "options",
    ["-I", "-s -E", "-B -u", "-O", "-OO", "-W error", "-W ignore -W default::DeprecationWarning", "-X dev", "-X utf8"],
)
@pytest.mark.parametrize("arguments", ["show.py", "-m show"])
def test_pythons_options(options: str, arguments: str, tmp_path: Path) -> None:
    place = shown(tmp_path)
    if options == "-I" and arguments.startswith("-m"):
        assert same(place, *arguments.split(), python=options.split()).status == 1  # there is no such module
    else:
        assert same(place, *arguments.split(), python=options.split()).status == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is new in 3.11")
@pytest.mark.parametrize("arguments", ["show.py", "-m show", "pack"])
def test_a_safe_path(arguments: str, tmp_path: Path) -> None:
    place = shown(tmp_path)
    for how in ({"python": ["-P"]}, {"env": {"PYTHONSAFEPATH": "1"}}):
        assert same(place, *arguments.split(), **how).status == (1 if arguments == "-m show" else 0)


@pytest.mark.parametrize("first", ["", "import queue\n"])
def test_annotations_are_the_programs(first: str, tmp_path: Path) -> None:
    """With something to be swapped or not: what our own modules import from `__future__` goes for none of it."""
    text = first + "def f(x: 1 + 1): pass\nprint(f.__annotations__)\n"
    place = Place(tmp_path, {"script.py": text + "import inner\n", "inner.py": text})
    assert same(place, "script.py").lines == same(place, "-", given=text + text).lines == 2 * ["{'x': 2}"]


ENDS = {
    "normal": "print(q.empty())",
    "exit status": "import sys; sys.exit(7)",
    "exit text": "import sys; sys.exit('no more')",
    "exit None": "import sys; sys.exit()",
    "exit object": "raise SystemExit([1, 2])",
    "exit huge": "raise SystemExit(2**70)",
    "os._exit": "import os; os._exit(5)",
    "uncaught": "def f():\n    1/0\nf()",
    "chained": "try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise ValueError('x') from e",
    "context": "try:\n    1/0\nexcept ZeroDivisionError:\n    {}['a']",
    "in a call back": "sorted([1, 2], key=lambda x: x.nothing)",
    "raised again": "try:\n    1/0\nexcept Exception as e:\n    kept = e\nraise kept",
    "own BaseException": "class Stop(BaseException): pass\nraise Stop('x')",
    "interrupt": "import os, signal\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background\n"
    "os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass",
    "interrupt raised": "raise KeyboardInterrupt",
    "terminated": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "aborted": "import os\nos.abort()",
    "signal handler": "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(9))\n"
    "os.kill(os.getpid(), signal.SIGTERM)",
    "thread exits": "import sys, threading\nt = threading.Thread(target=sys.exit, args=(3,))\nt.start(); t.join()",
    "thread fails": "import threading\nt = threading.Thread(target=lambda: 1/0, name='t')\nt.start(); t.join()",
    "thread goes on": "import threading\nready = threading.Event()\ndef work():\n"
    "    threading.main_thread().join()\n    print('last', '__file__' in globals())\n"
    "threading.Thread(target=work).start()",
    "atexit": "import atexit, sys\n"
    "atexit.register(lambda: print('bye', __file__ if '__file__' in globals() else '-'))\n"
    "@atexit.register\ndef fails(): 1/0",
    "atexit behind a failure": "import atexit, sys\natexit.register(lambda: print(sys.last_value, sys.last_type))\n"
    "atexit.register(lambda: print(getattr(sys, 'last_exc', None), '__file__' in globals()))\n1/0",
    "atexit behind an exit": "import atexit, sys\n"
    "atexit.register(lambda: print(hasattr(sys, 'last_value'), __file__))\nsys.exit(4)",
    "last traceback": "import atexit, sys, traceback\n"
    "atexit.register(lambda: traceback.print_tb(sys.last_traceback))\n1/0",
    "excepthook": "import sys, traceback\ndef hook(kind, value, trace):\n"
    "    print(kind, value, trace is value.__traceback__, '__file__' in globals(), sys.excepthook is hook)\n"
    "    traceback.print_exception(kind, value, trace)\n"
    "sys.excepthook = hook\n1/0",
    "excepthook exits": "import sys\nsys.excepthook = lambda *a: sys.exit(8)\n1/0",
    "excepthook fails": "import sys\ndef hook(*a):\n    raise ValueError('hook')\nsys.excepthook = hook\n1/0",
    "excepthook is builtin": "import sys\nsys.excepthook = print\n1/0",
    "no stderr": "import sys\nsys.stderr = None\n1/0",
    "closed stdout": "import os\nprint('x')\nos.close(1)",
    "finalizer": "class Late:\n    def __del__(self):\n        print('late')\nlate = Late()",
    "deep": "import sys\nsys.setrecursionlimit(80)\ndef f(): f()\n"
    "try:\n    f()\nexcept RecursionError:\n    print('deep')",
    "notes and groups": "import sys\nif sys.version_info >= (3, 11):\n    e = ExceptionGroup('g', [ValueError(1)])\n"
    "    e.add_note('note')\n    raise e",
    "pickled": "import pickle\nclass Own: pass\nprint(type(pickle.loads(pickle.dumps(Own()))) is Own)",
    "source": "import inspect\ndef f():\n    return 1\nprint(inspect.getsource(f), inspect.getmodule(f))",
    "warned": "import warnings\nwarnings.warn('w')\ndef f():\n    warnings.warn('in f', stacklevel=2)\nf()",
    "doc": "print(__doc__, __annotations__)\nx: int = 1\nprint(__annotations__)",
    "exec and eval": "exec('1/0')",
    "stdin": "print(input())",
    "generator": "print((lambda: (yield))())",
    "deleted hook": "import sys\ndel sys.last_value",
}


@pytest.mark.parametrize("how", ENDS)
def test_ends(how: str, tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": f"import queue\nq = queue.Queue()\n{ENDS[how]}\n"})
    same(place, "app.py", given="a line\n")


@pytest.mark.parametrize(
    "how", ["uncaught", "chained", "excepthook", "interrupt", "exit text", "atexit", "last traceback"]
)
def test_ends_of_modules_and_directories(how: str, tmp_path: Path) -> None:
    text = f"import queue\nq = queue.Queue()\n{ENDS[how]}\n"
    place = Place(tmp_path, {"app.py": text, "pack/__main__.py": text})
    same(place, "-m", "app")
    same(place, "-m", "pack")
    same(place, "pack")


def test_an_interrupt_ends_it_by_that_signal(tmp_path: Path) -> None:
    """A shell that runs it in a loop must see that it was Ctrl-C."""
    place = Place(tmp_path, {"app.py": "import queue\nraise KeyboardInterrupt\n"})
    assert place.start("app.py").status == -signal.SIGINT


BROKEN = {
    "syntax": "import queue\nx = = 1\n",
    "indentation": "import queue\nif True:\nx = 1\n",
    "tabs": "import queue\nif True:\n\tx = 1\n        y = 1\n",
    "end of file": "import queue\nx = (\n",
    "compiler": "import queue\nreturn 1\n",
    "generator": "import queue\nfrom __future__ import annotations\n",
    "late global": "import queue\ndef f():\n    x = 1\n    global x\n",
    "warned": "import queue\nprint('\\d', 1 is 1)\nassert (1, 'x')\n",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_script_and_a_broken_module(how: str, tmp_path: Path) -> None:
    """Also a second time, where there may be bytecode."""
    place = Place(tmp_path, {"app.py": BROKEN[how], "user.py": "import queue\nimport broken\n"})
    (place.directory / "broken.py").write_text(BROKEN[how])
    for name in ("app", "user"):
        plain = place.start(f"{name}.py", run=None)
        for cache in place.directory.glob("__pycache__/*"):
            cache.unlink()
        assert place.start(f"{name}.py") == plain
    same(place, "-m", "app")


COMMAND = "import sys\nfrom pqadapters.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_script_under_the_command(how: str, tmp_path: Path) -> None:
    """As the script `pqadapters` that pip makes: the interpreter was ended by SIGSEGV behind the message.

    When it has shown an error, it goes on with the names of the script that it began with, and thinks that it has them.
    """
    place = Place(tmp_path, {"app.py": BROKEN[how]})
    (tmp_path / "pqadapters").write_text(COMMAND)
    plain = place.start("app.py", run=None)
    command = str(tmp_path / "pqadapters"), "run"
    assert place.start("app.py", run=command, env={"PYTHONMALLOC": "debug"}) == plain  # which overwrites what is freed


IMPORTS = {
    "missing": "import nothing_of_that_name",
    "missing in asyncio": "import asyncio.nothing",
    "missing name": "from queue import Nothing",
    "missing name of asyncio": "from asyncio import nothing",
    "missing attribute": "import queue\nqueue.nothing",
    "missing attribute of asyncio": "import asyncio\nasyncio.nothing",
    "import_module": "import queue, importlib\nimportlib.import_module('nothing')",
    "__import__": "import queue\n__import__('nothing')",
    "failing": "import queue, failing",
    "failing in a function": "import queue\ndef f():\n    from failing import x\nf()",
}


@pytest.mark.parametrize("how", IMPORTS)
def test_failing_imports(how: str, tmp_path: Path) -> None:
    """None of ours is in the traceback, or in the message."""
    place = Place(tmp_path, {"app.py": IMPORTS[how], "failing.py": "import queue\nqueue.Queue()\n1/0\n"})
    assert same(place, "app.py").status == 1


@pytest.mark.parametrize("arguments", ["nothing.py", "-m nothing", "empty", "-m empty", "-m app.nothing", "-m broken"])
def test_no_program(arguments: str, tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": "", "empty/x.py": "", "broken/__init__.py": "1/0", "broken/__main__.py": ""})
    assert same(place, *arguments.split()).status in (1, 2)


@pytest.mark.parametrize("arguments", ["{}/app.py a", "-m near", "app.py", "-"])
def test_a_working_directory_that_is_gone(arguments: str, tmp_path: Path) -> None:
    """As of a service whose directory a deploy has replaced. What PYTHONPATH names stays where it was in the path."""
    text = "import sys, queue\nqueue.Queue().put(1)\nprint(sys.argv, sys.path)\n"
    place = Place(tmp_path, {"app.py": text, "lib/near.py": text})
    leave = "import os, sys; os.mkdir('x'); os.chdir('x'); os.rmdir('../x'); os.execv(sys.argv[1], sys.argv[1:])"
    environment = place.environment(PYTHONPATH=str(place.directory / "lib"))
    ends = []
    for run in (None, RUN):
        command = [sys.executable, "-c", leave, *place.command(*arguments.format(place.directory).split(), run=run)]
        done = subprocess.run(command, cwd=place.directory, env=environment, input=text, capture_output=True, text=True)
        ends.append((done.returncode, done.stdout, done.stderr))
    assert ends[0] == ends[1]
    assert ends[0][0] == (2 if arguments == "app.py" else 0)


@pytest.mark.parametrize("text", ["x = 1", "1/0", "import sys; sys.exit(3)", "x ="])
def test_interactive_afterwards(text: str, tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": f"import queue\n{text}\n"})
    typed = "import sys\nprint(x if 'x' in globals() else '-', sys.excepthook is sys.__excepthook__, __name__)\n1/0\n"
    same(place, "app.py", python=["-i"], given=typed)


def test_lines_are_traced_as_without(tmp_path: Path) -> None:
    """What coverage and debuggers go by: the events of a trace function, with files and lines."""
    tracer = """
        import sys, os
        here = os.path.dirname(os.path.abspath(__file__))
        def tracing(frame, event, argument):
            if frame.f_code.co_filename.startswith(here):
                print(event, os.path.basename(frame.f_code.co_filename), frame.f_lineno, frame.f_code.co_name)
                return tracing
        sys.settrace(tracing)
    """
    program = """
        import tracer
        import queue, os
        from queue import (
            Queue,
            Empty,
        )
        import asyncio.queues; import importlib
        def f():
            import queue as q
            for _ in range(2):
                from asyncio import (Queue,
                    LifoQueue)
            return importlib.import_module(
                "queue")
        f()
        import module
    """
    place = Place(tmp_path, {"tracer.py": tracer, "app.py": "import tracer, module\n", "module.py": program})
    assert len(same(place, "app.py").lines) == 20


def test_positions_in_tracebacks(tmp_path: Path) -> None:
    """Carets under what failed, beside imports that were swapped."""
    program = """
        import queue; x = {}; import queue as q; x['a']['b']
    """
    place = Place(tmp_path, {"app.py": "import module\n", "module.py": program})
    same(place, "app.py")


def test_what_is_left_of_run(tmp_path: Path) -> None:
    """Frames of ours are below the program's in the stack, and nowhere else."""
    place = Place(tmp_path, {"app.py": "import sys, queue\nprint([k for k in sys.modules['__main__'].__dict__])\n"})
    assert place.well("app.py") == place.well("app.py", run=None)
    assert RUN[2] not in place.well("app.py")[0]


def test_a_program_that_logs_at_info_has_its_own_lines(tmp_path: Path) -> None:
    """honcho, which logs to stdout, began with a line of ours."""
    program = """
        import logging, multiprocessing, queue, sys
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        if sys.argv[1:]:
            logging.getLogger("pqadapters").setLevel("INFO")
        for q in (queue.Queue(), multiprocessing.Queue()):
            q.put(1)
            logging.info("got %s", q.get())
    """
    place = Place(tmp_path, {"app.py": program})
    assert place.well("app.py") == ["got 1", "got 1"]
    assert len(place.well("app.py", "loud")) > 2


@pytest.mark.parametrize("first", ["logging", "queue"])
def test_our_level_is_the_programs_to_change(first: str, tmp_path: Path) -> None:
    """It was set again with each message. A message that nobody heard has set it, or a stand-in."""
    second = "queue" if first == "logging" else "logging"
    program = f"""
        import {first}, {second}
        log = logging.getLogger("pqadapters")
        queue.Queue().put(1)
        before = log.level
        log.setLevel(logging.NOTSET)
        import multiprocessing
        multiprocessing.Queue().put(1)
        queue.Queue().put(1)
        print(before, log.level)
    """
    assert Place(tmp_path, {"app.py": program}).well("app.py") == ["30 0"]
