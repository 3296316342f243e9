"""Makes a virtual environment with pqadapters in it, and installs what a bare Debian Python lacks for that.

`python3 -m tools.environment NAME EXTRA [VERSION]` leaves `.venv/NAME` with `pip install -e .[EXTRA]`, for the
interpreter that runs this or the one of VERSION, which a NAME like "3.12" says as well. A stamp in the environment
says what it was made from, so that a second call returns at once. One process at a time: callers for different names
may run side by side, and take turns where setuptools writes beside the sources, and at apt-get.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .interpreters import SUPPORTED, Interpreter, current, find, probe

ROOT = Path(__file__).resolve().parent.parent
DECLARED = ("setup.cfg", "pyproject.toml", "pqadapters/__init__.py")  # the last one has the version


def main(name: str, extra: str, version: str | None = None) -> None:
    """Make `.venv/NAME` unless it is there. Raises SystemExit with what to do when it can't be made."""
    python = _complete(_interpreter(version or (name if name in SUPPORTED else None)), tests=extra == "test")
    if extra == "test":
        _need_server()
    place = ROOT / ".venv" / name
    stamp = place / f"made-{extra}"
    origin = _origin(python, extra)
    if stamp.is_file() and stamp.read_text() == origin and probe(str(place / "bin" / "python")):
        return
    if Path(sys.prefix).resolve() == place.resolve():
        raise SystemExit(f"{place} can't be made anew by its own interpreter: call this with the one it was made by")
    print(f"making .venv/{name} with Python {python.version} ({python.executable})", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    _run(python.executable, "-m", "venv", str(place))
    install = (str(place / "bin" / "python"), "-m", "pip", "install", "--quiet")
    _run(*install, *_needs(extra))
    with _turn():  # `pqadapters.egg-info` is written anew by each
        _run(*install, "--editable", f"{ROOT}[{extra}]")
    stamp.write_text(origin)


@contextmanager
def _turn() -> Iterator[None]:
    """No other process is here meanwhile."""
    (ROOT / ".venv").mkdir(exist_ok=True)
    with open(ROOT / ".venv" / "turn", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _interpreter(version: str | None) -> Interpreter:
    found = find(version) if version else current()
    if found is None:
        raise SystemExit(f"no usable Python {version} on PATH or among pyenv's versions")
    return found


def _origin(python: Interpreter, extra: str) -> str:
    """What an environment is made from: when any of it changes, the environment is made anew."""
    declared = b"".join((ROOT / name).read_bytes() for name in DECLARED)
    return f"{python.executable} {python.version} {extra} {ROOT} {hashlib.sha256(declared).hexdigest()}\n"


def _needs(extra: str) -> list[str]:
    """What is installed beside pqadapters itself."""
    declared = configparser.ConfigParser(interpolation=None)
    declared.read(ROOT / "setup.cfg")
    wanted = declared["options"]["install_requires"], declared["options.extras_require"][extra]
    return [line for each in wanted for line in each.splitlines() if line]


def _complete(python: Interpreter, *, tests: bool) -> Interpreter:
    """The interpreter with what it lacks installed: Debian keeps venv and the test package apart from python3."""
    packages = []
    if not python.venv:
        packages.append(f"python{python.version}-venv")
    if tests and not python.tests:
        packages.append(f"libpython{python.version}-testsuite")
    if not packages:
        return python
    _install(python, packages)
    completed = probe(python.executable) or python
    advice = f"on Debian, run as root: apt-get install {' '.join(packages)}; or call make with PYTHON=/path/to/python3"
    if not completed.venv:
        raise SystemExit(f"{python.executable} can't make virtual environments: {advice}")
    if tests and not completed.tests:
        print(f"{python.executable} lacks CPython's own tests, which are skipped: {advice}", file=sys.stderr)
    return completed


def _need_server() -> None:
    """The MySQL store's tests start a server of their own, which must be there."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    if shutil.which("mariadbd", path=path):
        return
    _apt_get(["mariadb-server"])
    if not shutil.which("mariadbd", path=path):
        advice = "on Debian, run as root: apt-get install mariadb-server"
        print(f"there is no mariadbd, so the MySQL store's tests are skipped: {advice}", file=sys.stderr)


def _install(python: Interpreter, packages: list[str]) -> None:
    """apt-get install, for Debian's own Python; elsewhere nothing."""
    if os.path.realpath(python.executable).startswith("/usr/bin/"):
        _apt_get(packages)


def _apt_get(packages: list[str]) -> None:
    """apt-get install, as root and where there is one; elsewhere nothing."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return
    print(f"apt-get install {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _turn():
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *words]
            answer = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if answer.returncode:
                print(f"{answer.stderr}{' '.join(command)} ended with {answer.returncode}", file=sys.stderr)


def _run(*command: str) -> None:
    if code := subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
        raise SystemExit(f"{' '.join(command)} ended with {code}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python3 -m tools.environment NAME EXTRA [VERSION]")
    main(*sys.argv[1:])
