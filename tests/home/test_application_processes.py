"""Real programs that say which application they are: started in every way, and multiprocessing's children above all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from pqadapters.home import application as module
from pqadapters.home.application import Application

from .test_application import dash_m, script

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
SHOW = "from pqadapters.home.application import application\nprint(tuple(application()), flush=True)\n"


def start(arguments: list[str], cwd: Path, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [environ.pop("PYTHONPATH", "")])])
    env = {**os.environ, "PYTHONPATH": path, **environ}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, input=stdin, capture_output=True, text=True, timeout=PATIENCE
    )


def shown(arguments: list[str], cwd: Path, stdin: str = "", **environ: str) -> list[Application]:
    done = start(arguments, cwd, stdin, **environ)
    assert done.returncode == 0, done.stderr
    return [Application(*ast.literal_eval(line)) for line in done.stdout.splitlines()]


NO_PASSWD_ENTRY = """
import os, pwd
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
for name in ("HOME", "XDG_STATE_HOME", "PQADAPTERS_HOME"):
    os.environ.pop(name, None)
from pqadapters.home.application import home_directory
home_directory()
"""


def test_a_user_without_a_home_for_real(tmp_path: Path) -> None:
    done = start(["-c", NO_PASSWD_ENTRY], tmp_path)
    assert done.returncode == 1
    assert "NoHome: " in done.stderr
    assert "PQADAPTERS_HOME" in done.stderr


def test_this_process_is_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_known", None)  # a test before this one may have asked, with PQADAPTERS_HOME set
    monkeypatch.delenv("PQADAPTERS_HOME", raising=False)
    assert module.application().temporary in ("pytest", "a -c command")  # the latter under xdist
    assert module.application() is module.application()


def test_programs_started_by_tests_are_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(SHOW)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__main__.py").write_text(SHOW)
    zipapp.create_archive(tmp_path / "jobs", tmp_path / "jobs.pyz")
    real = tmp_path.resolve()
    cases = {
        ("worker.py",): script(real / "worker.py"),
        (str(tmp_path / "worker.py"),): script(real / "worker.py"),
        ("-m", "worker"): dash_m("worker", str(real / "worker.py")),
        ("-m", "jobs"): dash_m("jobs", str(real / "jobs" / "__main__.py")),
        ("jobs",): dash_m("__main__", str(real / "jobs" / "__main__.py")),
        ("jobs.pyz",): dash_m("__main__", str(real / "jobs.pyz" / "__main__.py")),
        ("-i", "worker.py"): script(real / "worker.py"),
    }
    for arguments, expected in cases.items():
        assert shown(list(arguments), tmp_path) == [expected]


def test_sessions_for_real(tmp_path: Path) -> None:
    for arguments, stdin, reason in [
        (["-c", SHOW], "", "a -c command"),
        ([], SHOW, "an interactive session, or a script from standard input"),
        (["-"], SHOW, "an interactive session, or a script from standard input"),
        (["-i"], SHOW, "an interactive session, or a script from standard input"),
    ]:
        (found,) = shown(arguments, tmp_path, stdin)
        assert found.temporary == reason
        (kept,) = shown(arguments, tmp_path, stdin, PQADAPTERS_HOME=str(tmp_path))
        assert kept == found._replace(temporary="")


LATE = """
import threading
def late():
    threading.main_thread().join()
    from pqadapters.home.application import application
    print(tuple(application()), flush=True)
threading.Thread(target=late).start()
"""


def test_a_thread_that_asks_after_the_script_has_ended(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(LATE)
    assert shown(["worker.py"], tmp_path) == [script(tmp_path.resolve() / "worker.py")]


CHANGED_DIRECTORY = "from pqadapters.home.application import application\nimport os\nos.chdir('/')\n" + SHOW


def test_a_daemon_that_changes_its_directory(tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(CHANGED_DIRECTORY)
    assert shown(["manage.py"], tmp_path) == [script(tmp_path.resolve() / "manage.py", str(tmp_path.resolve()))]


DELETED = "import os\nos.rmdir(os.getcwd())\n" + SHOW


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "celery").write_text(DELETED)
    (found,) = shown([str(tmp_path / "celery")], gone, PWD=str(gone))
    assert found == script(tmp_path.resolve() / "celery", str(gone.resolve()))


def test_pytest_and_its_workers(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it():\n"
        "    from pqadapters.home.application import application\n"
        "    with open('found', 'w') as file:\n"
        "        file.write(application().temporary)\n"
    )
    for arguments, reason in {(): "pytest", ("-n1",): "a -c command"}.items():
        done = start(["-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments], tmp_path)
        assert done.returncode == 0, done.stdout
        assert (tmp_path / "found").read_text() == reason


FAMILY = """
import multiprocessing, os, sys
{on_import}
def show():
    from pqadapters.home.application import application
    print(tuple(application()), flush=True)

def show_and_have_a_child():
    show()
    child = multiprocessing.get_context(sys.argv[1]).Process(target=show)
    child.start()
    child.join()

if __name__ == "__main__":
    from {here} import show_and_have_a_child
    multiprocessing.set_start_method(sys.argv[1])
    show()
    os.chdir("/")
    {rename}
    child = multiprocessing.Process(target=show_and_have_a_child)
    child.start()
    child.join()
"""
_IMPORTED = [("worker.py",), ("-m", "worker"), ("manage.py",), ("-m", "celery")]
_NOT_IMPORTED = [("-m", "jobs"), ("-m", "ns.jobs"), ("jobs",)]
CASES = [
    *((arguments, method) for arguments in _IMPORTED + _NOT_IMPORTED for method in ("spawn", "forkserver")),
    (("worker.py",), "fork"),
    (("-m", "jobs"), "fork"),
]


@pytest.mark.parametrize(("arguments", "method"), CASES)
def test_the_children_are_what_their_parent_is(arguments: tuple[str, ...], method: str, tmp_path: Path) -> None:
    family(tmp_path)
    found = shown([*arguments, method], tmp_path, PYTHONPATH=str(tmp_path))
    assert len(found) == 3
    assert set(found) == {found[0]}
    assert not found[0].temporary


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("arguments", _IMPORTED)
def test_the_children_are_so_while_they_import_the_main_module(
    arguments: tuple[str, ...], method: str, tmp_path: Path
) -> None:
    family(tmp_path, on_import=SHOW)
    found = shown([*arguments, method], tmp_path, PYTHONPATH=str(tmp_path))
    assert len(found) == 6  # two for each of the parent, its child, and the child's child
    assert set(found) == {found[0]}
    assert not found[0].temporary


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("arguments", [("worker.py",), ("-m", "worker"), ("-m", "jobs")])
def test_the_child_of_a_program_that_has_renamed_itself(
    arguments: tuple[str, ...], method: str, tmp_path: Path
) -> None:
    family(tmp_path, rename="sys.argv[0] = 'my program'")
    found = shown([*arguments, method], tmp_path, PYTHONPATH=str(tmp_path))
    assert found[1][:2] == found[0][:2]


def family(directory: Path, on_import: str = "", rename: str = "") -> None:
    for name in ("worker", "manage", "celery"):
        (directory / f"{name}.py").write_text(FAMILY.format(on_import=on_import, here="__main__", rename=rename))
    for package in (directory / "jobs", directory / "ns" / "jobs"):
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(FAMILY.format(on_import=on_import, here="targets", rename=rename))
    (directory / "targets.py").write_text(FAMILY.format(on_import="", here="targets", rename=rename))


PRELOADED = """
import multiprocessing
if __name__ == "__main__":
    multiprocessing.set_forkserver_preload(["preloaded"])
    context = multiprocessing.get_context("forkserver")
    import preloaded, os
    os.chdir("/")
    child = context.Process(target=preloaded.show)
    child.start()
    child.join()
"""


@pytest.mark.parametrize("program", ["worker.py", "manage.py"])
def test_what_a_forkserver_preloads_settles_nothing(program: str, tmp_path: Path) -> None:
    (tmp_path / "preloaded.py").write_text(SHOW + "def show():\n    print(tuple(application()), flush=True)\n")
    (tmp_path / program).write_text(PRELOADED)
    found = shown([program], tmp_path, PYTHONPATH=str(tmp_path))
    expected = script(tmp_path.resolve() / program, str(tmp_path.resolve()))
    assert expected == found[0] == found[-1]
    assert [one.temporary for one in found if one != expected] == ["a -c command"]


def test_the_children_of_a_command_are_a_command(tmp_path: Path) -> None:
    (tmp_path / "targets.py").write_text(SHOW + "def show():\n    pass\n")
    code = f"""
import multiprocessing
{SHOW}
import targets
child = multiprocessing.get_context("spawn").Process(target=targets.show)
child.start()
child.join()
"""
    found = shown(["-c", code], tmp_path, PYTHONPATH=str(tmp_path))
    assert len(found) == 3
    assert {one.temporary for one in found} == {"a -c command"}


LOKY = """
import multiprocessing.process, os, sys
if __name__ == "__main__":
    sys.argv, multiprocessing.process.ORIGINAL_DIR = os.environ["ARGV"].split(), os.environ["DIRECTORY"]
    from targets import show
    show()
"""
LOKYS_PARENT = """
import os, subprocess, sys
from multiprocessing import process
from targets import show
show()
os.environ["ARGV"], os.environ["DIRECTORY"] = " ".join(sys.argv), process.ORIGINAL_DIR
os.chdir("/")
subprocess.run([sys.executable, "-m", "joblib.externals.loky.backend.popen_loky_posix", "--pipe", "7"], check=True)
"""


@pytest.mark.parametrize("arguments", [("worker.py",), ("manage.py",), ("-m", "jobs"), ("jobs",), ("-c", LOKYS_PARENT)])
def test_the_processes_of_joblib_are_what_their_program_is(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """They were an application of their own, the same for all programs with joblib: what they put into a queue with a
    name never came to their program, and what was left in one without a name came to another program's."""
    backend = tmp_path / "joblib" / "externals" / "loky" / "backend"
    backend.mkdir(parents=True)
    (backend / "popen_loky_posix.py").write_text(LOKY)
    family(tmp_path)
    for program in ("worker.py", "manage.py", "jobs/__main__.py"):
        (tmp_path / program).write_text(LOKYS_PARENT)
    found = shown([*arguments, "x"], tmp_path, PYTHONPATH=str(tmp_path))
    assert len(found) == 2
    assert found[1] == found[0]
