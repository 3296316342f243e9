"""Which application is this process? Its queues without a name or path live in a directory of that name.

The answer is the same in every run of a program, from whatever directory it is started, and in all its processes:
forked ones, and those that multiprocessing or joblib start anew, also while these are still importing the main module.
Two programs never share a name, but for those run with -m: these are known by their module's name alone, so that a
deploy to another directory stays the same application (`origin` tells them apart). Programs that run other people's
programs (gunicorn, celery, manage.py) are told apart by the directory that they are started in.

`application` looks once for each process, any thread may call it; nothing here writes to a disk.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from ..digest import digest
from ..errors import NoHome
from ..late import late
from ..paths import absolute

_RUN_OTHERS = """
    accelerate adev airflow ansible ansible-playbook apache arq behave bokeh buildbot celery chainlit chalice chaussette
    cherryd circusd coverage dagster dagster-daemon daphne dask-scheduler dask-worker dbt debugpy deepspeed django
    django-admin doit dramatiq dvc fab fabric fastapi faust fil-profile flask functions-framework gearbox gevent gradio
    granian gunicorn honcho httpd huey huey-consumer hupper hypercorn invoke ipdb ipengine jupyter jupyter-lab
    jupyter-notebook jupyterlab jurigged kedro kernprof kopf line-profiler litestar locust luigi luigid manage marimo
    memory-profiler memray mitmdump mitmproxy mitmweb mkdocs mlflow mod-wsgi mod-wsgi-express mprof nameko nose
    nosetests nox pabot papermill passenger-wsgi paster prefect procrastinate pserve pshell pudb pyinstrument
    quart radish ray robot rq rqscheduler rqworker sanic saq scalene scons scrapy scrapyd slipcover snakemake solara
    sphinx-build streamlit superset supervisord taskiq torchrun tox twistd twisted uvicorn uwsgi viztracer voila
    waitress waitress-serve watchfiles watchmedo zappa
"""
#: Programs that run other people's programs, by their scripts, with "-" for "_", without endings and versions.
_LAUNCHERS = frozenset(_RUN_OTHERS.split())
#: The same with -m. A script of one of these names is somebody's own.
_MODULE_LAUNCHERS = _LAUNCHERS | {"cprofile", "notebook", "pdb", "profile", "runpy", "trace"}

#: Why queues are temporary, by the name that the application has where PQADAPTERS_HOME is set and they are kept.
_SESSIONS = {
    "interactive": "an interactive session, or a script from standard input",
    "command": "a -c command",
    "notebook": "a notebook",
    "pytest": "pytest",
    "tests": "a run of tests",
}
_SHELL_SCRIPTS = frozenset({"ipython", "bpython", "ptpython", "ptipython"})
_SHELL_MODULES = _SHELL_SCRIPTS | {"asyncio", "code", "idlelib", "_pyrepl"}
_KERNELS = frozenset({"ipykernel", "ipykernel_launcher", "colab_kernel_launcher", "spyder_kernels"})

_TEST_RUNNERS = frozenset({"unittest", "nose", "nose2", "nosetests", "testify", "ward", "zope-testrunner"})
_TEST_COMMANDS = frozenset({"manage", "django-admin", "django"})  #: with the argument "test"

_ENDING = re.compile(r"(?<=.)\.(?:pyw?|pyc|pyz|pex|zip|exe)$", re.IGNORECASE)
_VERSION = re.compile(r"(?:[-_.]python)?[-_.]?[\d.]+$|-script$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_HASHED = re.compile(r"-[0-9a-f]{10}$")
_LONGEST = 60
_FOLDS_CASE = sys.platform in ("win32", "darwin")

#: How multiprocessing starts an interpreter; a forkserver's children have its command line too.
_HELPERS = ("from multiprocessing.spawn import ", "from multiprocessing.forkserver import ")
#: The module by which loky starts the processes of joblib. It hands on `sys.argv`, as multiprocessing does.
_LOKY = "loky.backend.popen_loky_posix"


class Application(NamedTuple):
    """What a program is called, here and by people."""

    name: str  #: its directory's name
    title: str  #: for people
    origin: str  #: the real path of what runs; of a session, the directory it runs in
    temporary: str = ""  #: why its queues are temporary; "" where they are kept


class Process(NamedTuple):
    """What an application is told by."""

    argv: Sequence[str] = ()
    directory: str = ""  #: the one that the program was started in
    main: Mapping[str, Any] = {}  #: the main module's globals
    kept: bool = False  #: PQADAPTERS_HOME is set
    frozen: str = ""  #: the executable of a program that was packed with its interpreter
    ipython: bool = False
    helper: bool = False  #: multiprocessing, or loky, started this interpreter
    told: Mapping[str, Any] = {}  #: what multiprocessing's parent told it
    path: Sequence[str] = ()  #: sys.path


class _Program(NamedTuple):
    module: str  #: the -m name, or ""
    path: str  #: the real path of the script, the directory, the archive or the module


_known: Application | None = None  #: kept by forked children


def application() -> Application:
    """The application that this process belongs to."""
    global _known
    if _known is not None:
        return _known
    process = _this_process()
    found = identify(process)
    # A forkserver that imports its preloaded modules doesn't know yet what its children will be.
    if not (process.helper and not process.told and process.argv[:1] == ["-c"]):
        _known = found
    return found


def home_directory() -> str:
    """The directory that all applications' directories are in: PQADAPTERS_HOME, else the user's state directory.

    Raises NoHome where there is neither.
    """
    given = os.environ.get("PQADAPTERS_HOME", "")
    try:
        home = os.path.expanduser(given) if given else _state_directory()
    except (RuntimeError, OSError) as error:  # platformdirs, of a user without a home
        raise _no_home("the user's state directory", str(error)) from error
    if home.startswith("~"):
        raise _no_home(home, "this user has no home directory (no HOME, no entry in the passwd database)")
    if given:
        home = os.path.join(_start_directory(), home)
    if not os.path.isabs(home):
        raise _no_home(home, "it isn't an absolute path")
    return absolute(home)


def _state_directory() -> str:
    """Of the user that this process is, which for root isn't always what HOME says: `sudo -E` leaves it as it was, and
    what root makes in another user's home that one can't use."""
    import platformdirs

    found = platformdirs.user_state_dir("pqadapters", appauthor=False)
    home = os.path.expanduser("~")
    if hasattr(os, "geteuid") and not os.geteuid() and found.startswith(home + os.sep) and not _is_ours(found, home):
        return os.path.join(os.path.expanduser("~root"), os.path.relpath(found, home))
    return found


def _is_ours(*directories: str) -> bool:
    """Whether the first of these that there is belongs to this user; True where there is none."""
    for directory in directories:
        with suppress(OSError):
            return os.stat(directory).st_uid == os.geteuid()
    return True


def _no_home(home: str, reason: str) -> NoHome:
    return NoHome(
        f"there is no place for queues without a name or path: {home} can't be used: {reason}. "
        "Set PQADAPTERS_HOME to an absolute path, or give the queue a path="
    )


def file_name(name: str, identity: str = "") -> str:
    """`name` as a name for a file, with a hash of `identity`; without one, with a hash if the name had to be changed.

    Two names, or two identities, never give the same.
    """
    plain = _UNSAFE.sub("_", name)[:_LONGEST]
    if plain[:1] in ("", ".", "-"):
        plain = "_" + plain[1:]
    # A name that looks as if it had a hash must not be taken for one that has; nor may "Worker" meet "worker".
    if identity or plain != name or _HASHED.search(name) or (_FOLDS_CASE and name != name.lower()):
        return f"{plain}-{_digest(identity or name)}"
    return plain


def _digest(identity: str) -> str:
    return digest(identity.encode("utf-8", "surrogatepass"))


# What the process looks like


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return os.environ.get("PWD", "")


def _multiprocessing_directory() -> str:
    """The directory that multiprocessing saw first, in this process or in its parents."""
    return getattr(sys.modules.get("multiprocessing.process"), "ORIGINAL_DIR", None) or ""


#: As early as we know it: daemons change theirs.
_started_in = _multiprocessing_directory() or _working_directory()


def _start_directory() -> str:
    return (_multiprocessing_directory() if _is_helper() else "") or _started_in


def _is_helper() -> bool:
    return any(argument.startswith(_HELPERS) or argument.endswith(_LOKY) for argument in sys.orig_argv)


def _this_process() -> Process:
    main = _main_globals()
    helper = _is_helper()
    return Process(
        argv=list(getattr(sys, "argv", ())),
        directory=_start_directory(),
        main=main,
        kept=bool(os.environ.get("PQADAPTERS_HOME")),
        frozen=_frozen(main),
        ipython=hasattr(builtins, "__IPYTHON__"),
        helper=helper,
        told=_told() if helper else {},
        path=list(sys.path),
    )


def _main_globals() -> Mapping[str, Any]:
    """The main module's globals. In multiprocessing's children it is called "__mp_main__", and is imported after us
    where it imports us; in other processes that name may be an older main module."""
    child = getattr(sys.modules.get("__mp_main__"), "__dict__", {})
    if child.get("__name__") == "__mp_main__":
        return child
    main = getattr(sys.modules.get("__main__"), "__dict__", {})
    return {} if _name(main).endswith(_LOKY) else main  # that is no program's


def _frozen(main: Mapping[str, Any]) -> str:
    if "__compiled__" in main:  # Nuitka: sys.executable may not exist, argv[0] is what was started
        found: str | None = late("shutil").which(sys.argv[0])
        return found or sys.argv[0]
    return sys.executable if getattr(sys, "frozen", False) else ""


def _told() -> Mapping[str, Any]:
    """What multiprocessing's parent told this process about its main module.

    It stays in a variable at the root of the main thread, and nowhere else: of a package run with -m, and of a
    directory or an archive, multiprocessing imports no main module in its children.
    """
    code = getattr(getattr(sys.modules.get("multiprocessing.spawn"), "_main", None), "__code__", None)
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame.f_locals.get("preparation_data", {}) if frame is not None else {}


# What that makes it


def identify(process: Process) -> Application:
    """The application of a process that looks like this."""
    program = _program(process)
    session = _session(process, program)
    if session:
        return _of_session(process, session, program)
    if program.module:
        return _of_module(process, program)
    if program.path:
        return _of_script(process, program.path)
    return _of_embedded(process)


def _program(process: Process) -> _Program:
    if process.frozen:
        return _Program("", _real(process, process.frozen))
    module = _module(process)
    file = _file(process)
    if not module and not file and process.helper:
        return _named_by_argv(process)
    if module == "__main__":
        return _Program("", _real(process, _container(file) or _first(process)))
    if module and not file and os.path.dirname(_first(process)):
        file = _first(process)
    return _Program(module.removesuffix(".__main__"), _real(process, file) if file else "")


def _container(file: str) -> str:
    """The directory or archive that was run, by its `__main__.py`; any other file as it is."""
    return os.path.dirname(file) if os.path.splitext(os.path.basename(file))[0] == "__main__" else file


def _module(process: Process) -> str:
    return _name(process.main) or process.told.get("init_main_from_name") or ""


def _name(main: Mapping[str, Any]) -> str:
    """The module's that was run with -m, or a directory's or an archive's "__main__"; "" of a script."""
    return getattr(main.get("__spec__"), "name", None) or ""


def _file(process: Process) -> str:
    """The main module's file. `__file__` goes away when a script has come to its end, and its threads still run."""
    file = process.main.get("__file__") or getattr(process.main.get("__loader__"), "path", None)
    file = str(file or process.told.get("init_main_from_path") or "")
    return "" if file == "<stdin>" else file


def _named_by_argv(process: Process) -> _Program:
    """The program of a child of a child: multiprocessing tells it even less, but hands on `sys.argv`."""
    first = _first(process)
    path = os.path.join(process.directory, first)
    if first in ("", "-", "-c"):
        return _Program("", "")
    if os.path.basename(first) in ("__main__.py", "__main__.pyc"):
        return _Program(_dotted(os.path.dirname(path), process), os.path.realpath(path))
    return _Program("", os.path.realpath(path) if os.path.exists(path) else "")


def _dotted(package: str, process: Process) -> str:
    """The package's name, as seen from the nearest entry of sys.path."""
    names = [os.path.basename(package)]
    for entry in process.path:
        root = os.path.join(process.directory, entry, "")
        if package.startswith(root):
            names.append(package[len(root) :].replace(os.sep, "."))
    return min(names[1:] or names, key=len)


def _session(process: Process, program: _Program) -> str:
    """The kind of session that this is, or ""."""
    if program.module:
        return _session_of_name(process, program.module.partition(".")[0], program.module == "py.test", _SHELL_MODULES)
    if program.path and not process.frozen:
        if program.path.startswith(("/proc/", "/dev/fd/", "/dev/stdin")):  # python <(a shell command)
            return "command"
        stem = _stem(program.path)
        return _session_of_name(process, stem, "pytest" in stem or stem == "py.test", _SHELL_SCRIPTS)
    if program.path:
        return ""
    return _session_of_nothing(process)


def _session_of_name(process: Process, name: str, tests: bool, shells: frozenset[str]) -> str:
    if tests or name == "pytest":
        return "pytest"
    if name in _KERNELS:
        return "notebook"
    if _is_among(name, _TEST_RUNNERS) or (_is_among(name, _TEST_COMMANDS) and process.argv[1:2] == ["test"]):
        return "tests"
    return "interactive" if _VERSION.sub("", name.lower()) in shells else ""


def _session_of_nothing(process: Process) -> str:
    if process.ipython:
        first = _first(process)
        return "interactive" if _VERSION.sub("", _stem(first).lower()) in _SHELL_SCRIPTS else "notebook"
    return {"": "interactive", "-": "interactive", "-c": "command"}.get(_first(process), "")


def _of_session(process: Process, session: str, program: _Program) -> Application:
    directory = _real(process, "")
    reason = _SESSIONS[session]
    title = reason if session in ("pytest", "tests") else f"{reason} in {directory}"
    return Application(
        file_name(session, directory or "?"), title, program.path or directory, "" if process.kept else reason
    )


def is_launcher(package: str) -> bool:
    """Whether `-m` runs other people's programs by it."""
    return _is_among(package, _MODULE_LAUNCHERS)


def _of_module(process: Process, program: _Program) -> Application:
    title = f"-m {program.module}"
    if not is_launcher(program.module.partition(".")[0]):
        return Application(file_name(program.module), title, program.path)
    directory = _real(process, "")
    return Application(
        file_name(program.module, f"{program.module}\0{directory}"), f"{title} in {directory}", program.path
    )


def _of_script(process: Process, path: str) -> Application:
    stem = _stem(path)
    if process.frozen or not _is_among(stem, _LAUNCHERS):
        return Application(file_name(stem, path), path, path)
    directory = _real(process, "")
    return Application(file_name(stem, f"{path}\0{directory}"), f"{path} in {directory}", path)


def _of_embedded(process: Process) -> Application:
    """A program that has Python in it (uwsgi, mod_wsgi): a launcher."""
    first = _first(process)
    path = _real(process, first) if os.path.dirname(first) else first
    directory = _real(process, "")
    return Application(file_name(_stem(first), f"{path}\0{directory}"), f"{path} in {directory}", path)


def _first(process: Process) -> str:
    return process.argv[0] if process.argv else ""


def _real(process: Process, path: str) -> str:
    """The path as a real one; "" for the directory that the program was started in."""
    joined = os.path.join(process.directory, path)
    return os.path.realpath(joined) if joined else ""


def _stem(path: str) -> str:
    return _ENDING.sub("", os.path.basename(path))


def _is_among(name: str, launchers: frozenset[str]) -> bool:
    return _VERSION.sub("", name.lower()).replace("_", "-") in launchers
