"""Which application a process is: one case for each way in which Python is started, without starting it."""

from __future__ import annotations

import os
import pwd
import sys
import types
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import NoHome
from pqadapters.home import application as module
from pqadapters.home.application import Application, Process, file_name, home_directory, identify


def script(path: object, cwd: str = "/srv", **more: Any) -> Application:
    return identify(Process([str(path)], cwd, {"__file__": str(path), "__spec__": None}, **more))


def dash_m(name: str, file: str = "", cwd: str = "/srv", **more: Any) -> Application:
    return identify(Process([file], cwd, {"__file__": file, "__spec__": ModuleSpec(name, None)}, **more))


def nameless(*argv: str, **more: Any) -> Application:
    return identify(Process(argv, "/srv", {}, **more))


def django(*arguments: str) -> Application:
    return identify(Process(["manage.py", *arguments], "/srv", {"__file__": "manage.py", "__spec__": None}))


# Scripts and modules


def test_a_script_is_named_after_its_file_and_its_real_path() -> None:
    found = script("/opt/jobs/worker.py")
    assert found == Application(found.name, "/opt/jobs/worker.py", "/opt/jobs/worker.py")
    assert found.name[:7] == "worker-"
    assert len(found.name) == 17


def test_a_script_is_the_same_from_every_directory_and_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "worker.py").touch()
    (tmp_path / "link.py").symlink_to("worker.py")
    found = script(tmp_path / "worker.py")
    assert (
        found
        == script(tmp_path / "link.py")
        == script("worker.py", str(tmp_path))
        == script("x/../link.py", str(tmp_path))
    )
    assert found != script(tmp_path / "other" / "worker.py")


def test_a_module_is_known_by_its_name_alone() -> None:
    found = dash_m("jobs.worker", "/v1/jobs/worker.py")
    assert found == Application("jobs.worker", "-m jobs.worker", "/v1/jobs/worker.py")
    assert dash_m("jobs.worker", "/v2/jobs/worker.py", "/elsewhere").name == "jobs.worker"
    assert dash_m("jobs.__main__", "/v1/jobs/__main__.py")[:2] == ("jobs", "-m jobs")


@pytest.mark.parametrize("packed", ["/opt/jobs", "/opt/jobs.pyz", "/opt/jobs.zip", "C/Scripts/jobs.exe"])
def test_a_directory_or_archive_is_named_after_itself(packed: str) -> None:
    found = dash_m("__main__", f"{packed}/__main__.py")
    assert found.name.startswith("jobs-")
    assert found.title == found.origin == os.path.join("/srv", packed)


def test_a_tracer_that_stands_in_for_the_script_leaves_it_what_it_is() -> None:
    assert dash_m("__main__", "/opt/worker.py") == script("/opt/worker.py")


def test_a_frozen_program_is_its_executable() -> None:
    found = script("/tmp/_MEI123/worker.py", frozen="/opt/bin/worker")
    assert found == script("/tmp/_MEI456/worker.py", "/elsewhere", frozen="/opt/bin/worker")
    assert found.title == "/opt/bin/worker"
    assert script("/x.py", frozen="/opt/bin/gunicorn") == script("/x.py", "/elsewhere", frozen="/opt/bin/gunicorn")


def test_nuitka_tells_by_argv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "jobs.bin"
    binary.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["jobs.bin"])
    monkeypatch.setitem(sys.modules, "__mp_main__", sys)
    monkeypatch.setattr(sys.modules["__main__"], "__compiled__", True, raising=False)
    monkeypatch.setattr(module, "_known", None)
    assert module.application().origin == str(binary)


def test_a_script_whose_main_thread_has_ended_is_still_itself() -> None:
    loader = SourceFileLoader("__main__", "worker.py")
    assert identify(Process(["worker.py"], "/opt", {"__spec__": None, "__loader__": loader})) == script(
        "/opt/worker.py"
    )


# Launchers

LAUNCHED = """
    /usr/bin/gunicorn /venv/bin/uvicorn /venv/bin/hypercorn /venv/bin/daphne /venv/bin/waitress-serve /srv/manage.py
    /venv/bin/granian /usr/bin/uwsgi_python3.11 /venv/bin/celery /venv/bin/flask /venv/bin/django-admin /venv/bin/rq
    /venv/bin/rqworker /venv/bin/huey_consumer /venv/bin/huey_consumer.py /venv/bin/dramatiq /venv/bin/pserve
    /usr/bin/twistd3 /venv/bin/streamlit /venv/bin/scrapy /venv/bin/airflow /venv/bin/luigi /venv/bin/locust
    /usr/bin/supervisord /venv/bin/honcho /venv/bin/watchmedo /venv/bin/hupper /venv/bin/coverage-3.11 /venv/bin/tox
    /venv/bin/nox /venv/bin/jupyter /venv/bin/memray /venv/bin/robot /venv/bin/pudb3 /venv/bin/snakemake
    /C/Scripts/celery-script.py /C/Scripts/Celery.exe/__main__.py
"""


@pytest.mark.parametrize(
    "path",
    LAUNCHED.split(),
)
def test_a_launcher_is_told_apart_by_its_directory(path: str) -> None:
    spec = ModuleSpec("__main__", None) if path.endswith("__main__.py") else None
    here, there = (identify(Process([path], cwd, {"__file__": path, "__spec__": spec})) for cwd in ("/srv/a", "/srv/b"))
    assert here.name != there.name
    assert here.title.endswith(" in /srv/a")
    assert not here.temporary
    assert here.origin == path.removesuffix("/__main__.py")


@pytest.mark.parametrize(
    "name", ["gunicorn.__main__", "celery", "flask.__main__", "trace.__main__", "runpy", "cProfile"]
)
def test_a_launching_module_too(name: str) -> None:
    here, there = dash_m(name, cwd="/srv/a"), dash_m(name, cwd="/srv/b")
    assert here.name != there.name
    assert here.name.startswith(name.removesuffix(".__main__") + "-")
    assert here.title.endswith(" in /srv/a")


def test_the_directory_of_a_launcher_is_its_real_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert script("/bin/celery", str(tmp_path)) == script("/bin/celery", str(tmp_path / "link"))
    assert script("/bin/celery", str(tmp_path)) != script("/other/bin/celery", str(tmp_path))


def test_ones_own_script_with_the_name_of_a_standard_module_is_no_launcher() -> None:
    assert script("/opt/profile.py", "/srv/a") == script("/opt/profile.py", "/srv/b")
    assert dash_m("profile", cwd="/srv/a") != dash_m("profile", cwd="/srv/b")


@pytest.mark.parametrize("argv", ["uwsgi", "mod_wsgi", "/usr/bin/uwsgi"])
def test_a_program_with_python_in_it_is_a_launcher(argv: str) -> None:
    here, there = (identify(Process([argv], cwd, {})) for cwd in ("/srv/a", "/srv/b"))
    assert here.name != there.name
    assert here.name.startswith(os.path.basename(argv) + "-")
    assert not here.temporary


# Sessions


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (nameless(), "an interactive session, or a script from standard input"),
        (nameless(""), "an interactive session, or a script from standard input"),
        (nameless("-"), "an interactive session, or a script from standard input"),
        (dash_m("asyncio.__main__"), "an interactive session, or a script from standard input"),
        (script("/usr/bin/ipython3"), "an interactive session, or a script from standard input"),
        (nameless("/usr/bin/ipython3", ipython=True), "an interactive session, or a script from standard input"),
        (nameless("-c"), "a -c command"),
        (nameless("-c", "argument"), "a -c command"),
        (script("/proc/12/fd/pipe:[345]"), "a -c command"),
        (script("/dev/fd/63"), "a -c command"),
        (nameless("/lib/ipykernel_launcher.py", "-f", "x", ipython=True), "a notebook"),
        (nameless("whatever", ipython=True), "a notebook"),
        (script("/lib/ipykernel_launcher.py"), "a notebook"),
        (dash_m("ipykernel_launcher"), "a notebook"),
        (script("/venv/bin/pytest"), "pytest"),
        (script("/venv/bin/py.test"), "pytest"),
        (script("/usr/bin/pytest-3"), "pytest"),
        (script("/ide/_jb_pytest_runner.py"), "pytest"),
        (dash_m("__main__", "/C/Scripts/pytest.exe/__main__.py"), "pytest"),
        (dash_m("pytest.__main__"), "pytest"),
        (dash_m("unittest.__main__"), "a run of tests"),
        (script("/venv/bin/nose2"), "a run of tests"),
        (django("test", "shop.tests"), "a run of tests"),
    ],
)
def test_sessions_are_temporary(found: Application, reason: str) -> None:
    assert found.temporary == reason
    assert reason in found.title


@pytest.mark.parametrize(
    "found",
    [
        script("/opt/worker.py", ipython=True),  # that calls IPython.embed()
        script("/opt/code.py"),
        django("runserver", "test"),
        script("/opt/test.py"),
        script("/opt/asyncio.py"),
        dash_m("my_pytest_plugin"),
        script("/dev/shm/worker.py"),
        script("/x.py", frozen="/opt/bin/pytest"),
    ],
)
def test_programs_are_not(found: Application) -> None:
    assert found.temporary == ""


@pytest.mark.parametrize(("argv", "name"), [("", "interactive"), ("-c", "command")])
def test_with_a_home_a_session_is_kept_for_its_directory(argv: str, name: str) -> None:
    found = nameless(argv, kept=True)
    assert found.temporary == ""
    assert found.name.startswith(f"{name}-")
    assert found.name == nameless(argv).name
    assert found.name != identify(Process([argv], "/elsewhere", {}, kept=True)).name


def test_with_a_home_pytest_and_notebooks_are_kept_too() -> None:
    assert script("/venv/bin/pytest", kept=True).name.startswith("pytest-")
    assert nameless("/lib/ipykernel_launcher.py", ipython=True, kept=True).name.startswith("notebook-")
    assert not script("/venv/bin/pytest", kept=True).temporary


def test_a_session_whose_directory_was_deleted() -> None:
    assert identify(Process(["-c"], "", {})).name.startswith("command-")
    assert identify(Process(["uwsgi"], "", {})).name.startswith("uwsgi-")


# multiprocessing's children, as far as they can be told without starting them


def child(argv: str, told: Mapping[str, Any] | None = None, path: tuple[str, ...] = ("/opt",)) -> Application:
    return identify(Process([argv], "/srv", {}, helper=True, told=told or {}, path=path))


def test_a_child_that_was_told_its_main_module() -> None:
    assert child("x", {"init_main_from_path": "/opt/worker.py"}) == script("/opt/worker.py")
    told = child("/opt/jobs/__main__.py", {"init_main_from_name": "jobs.__main__"})
    assert told == dash_m("jobs.__main__", "/opt/jobs/__main__.py")
    assert child("../opt/jobs.pyz", {"init_main_from_name": "__main__"}) == dash_m(
        "__main__", "/opt/jobs.pyz/__main__.py"
    )


def test_a_childs_child_that_was_told_nothing(tmp_path: Path) -> None:
    package = tmp_path / "ns" / "jobs"
    package.mkdir(parents=True)
    main = f"{package}/__main__.py"
    assert child(main, path=("/", str(tmp_path))) == dash_m("ns.jobs.__main__", main)
    assert child(main, path=(str(tmp_path), str(tmp_path / "ns"))) == dash_m("jobs.__main__", main)
    assert child(str(package)) == dash_m("__main__", main)
    assert child("").temporary == "an interactive session, or a script from standard input"
    assert child("-c").temporary == "a -c command"


# Names of files


def test_safe_names_stay_as_they_are() -> None:
    assert file_name("pkg.mod_1-x") == "pkg.mod_1-x"
    assert file_name("x" * 60) == "x" * 60


@pytest.mark.parametrize(
    "name", ["a b", "ä", "../up", ".hidden", "-rf", "", "x" * 61, "a\0b", "\udcff", "a-0123456789"]
)
def test_other_names_are_changed_and_hashed(name: str) -> None:
    found = file_name(name)
    assert module._HASHED.search(found)
    assert not module._UNSAFE.search(found)
    assert found[0] not in ".-"
    assert len(found) <= 71


def test_two_names_never_share_a_file() -> None:
    names = ["a b", "a_b", "a-b", "a\tb", ".a", "-a", "_a", "x" * 61, "x" * 62, "x" * 60]
    names += [file_name(name) for name in names if file_name(name) != name]
    assert len({file_name(name) for name in names}) == len(names)


def test_names_differ_where_case_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FOLDS_CASE", True)
    assert file_name("m.Worker").lower() != file_name("m.worker").lower()


# Where the homes are


def test_the_home_that_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    assert home_directory() == str(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PQADAPTERS_HOME", "~/queues")
    assert home_directory() == "/home/me/queues"


def test_a_relative_home_is_in_the_directory_that_the_program_was_started_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", "queues")
    monkeypatch.setattr(module, "_started_in", "/srv/app")
    monkeypatch.chdir(tmp_path)
    assert home_directory() == "/srv/app/queues"


@pytest.mark.parametrize("given", [None, ""])
def test_else_it_is_in_the_users_state_directory(
    given: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if given is not None:
        monkeypatch.setenv("PQADAPTERS_HOME", given)
    assert home_directory() == str(tmp_path / "pqadapters")


@pytest.mark.parametrize("owner", [0, 12345])
@pytest.mark.parametrize("made_by", [None, 0, 12345])
def test_root_in_the_home_of_somebody_else(
    owner: int, made_by: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `sudo -E` leaves it: the directories that root made there were in that user's way from then on."""
    state = tmp_path / ".local" / "state" / "pqadapters"
    owners = {str(tmp_path): owner, str(state): made_by}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def stat(path: str) -> Any:
        if owners[path] is None:
            raise FileNotFoundError(path)
        return types.SimpleNamespace(st_uid=owners[path])

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        found = home_directory()
    roots = pwd.getpwuid(0).pw_dir
    ours = (owner if made_by is None else made_by) == 0
    assert found == (str(state) if ours else os.path.join(roots, ".local/state/pqadapters"))


def test_root_with_a_state_directory_that_was_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whosever it and HOME are: it was named."""
    homes = {"~": "/me", "~root": "/var/root"}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "expanduser", lambda path: homes.get(path, path))
        patch.setattr(os, "stat", lambda path: types.SimpleNamespace(st_uid=12345))
        found = home_directory()
    assert found == str(tmp_path / "pqadapters")


@pytest.mark.parametrize(
    ("given", "state", "started_in"),
    [
        ("~no-such-user/x", "", "/srv"),
        ("", "~/.local/state/pqadapters", "/srv"),
        ("", "relative", "/srv"),
        ("relative", "", ""),
    ],
)
def test_no_home(given: str, state: str, started_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", given)
    monkeypatch.setattr(module, "_state_directory", lambda: state)
    monkeypatch.setattr(module, "_started_in", started_in)
    with pytest.raises(NoHome, match="Set PQADAPTERS_HOME"):
        home_directory()


def test_an_older_main_module_under_multiprocessings_name_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    older = types.ModuleType("__main__")
    older.__file__ = "/venv/bin/coverage"
    monkeypatch.setitem(sys.modules, "__mp_main__", older)
    assert module._main_globals() is vars(sys.modules["__main__"])
    child = types.ModuleType("__mp_main__")
    monkeypatch.setitem(sys.modules, "__mp_main__", child)
    assert module._main_globals() is vars(child)
