"""What a program does to the files of a directory, from a trace of its system calls, in the words of tests/crash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.crash.faulty import Action
from tests.crash.states import State
from tests.segment.programs import PATIENCE, ROOT

_CALLS = "openat,pwrite64,write,ftruncate,fdatasync,fsync,unlink,rename"
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_FD = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Trace(NamedTuple):
    """As `FaultyDisk` remembers it; `marks`: what the program wrote to its standard output, and behind how many
    actions."""

    before: dict[str, bytes]
    actions: list[Action]
    marks: list[tuple[int, str]]


def trace(code: str, directory: Path, *arguments: object) -> Trace:
    """Run the code, in `directory`, and tell what it did to the files there, but for shared memory."""
    log = directory.with_name("trace")
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", f"trace={_CALLS}", "-o", str(log), *command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return _read(log.read_text(), os.path.realpath(directory))


def _read(log: str, directory: str) -> Trace:
    found = Trace({}, [], [])
    files: dict[str, int] = {}
    for line in _joined(log):
        call = _LINE.match(line)
        if call is None or int(call[3]) < 0:
            continue
        name, arguments, result = call[1], call[2], int(call[3])
        if name == "write":
            if arguments.startswith("1<"):
                found.marks.append((len(found.actions), _data(arguments)[:result].decode()))
            continue
        path = _path(name, arguments)
        base = os.path.relpath(path, directory) if path else ""
        if _counts(base):
            found.actions.extend(_actions(name, arguments, result, base, files, path == directory))
    return found


def _counts(name: str) -> bool:
    """Whether it is the directory, a file in it, or a database that is being made beside another's locks."""
    above, base = os.path.split(name)
    return (not above and bool(base) and not base.endswith("-shm")) or (above.endswith("-owners") and base == "new")


def put(directory: Path, state: State) -> None:
    """The files of a state."""
    for name, content in state.items():
        (directory / name).parent.mkdir(mode=0o700, exist_ok=True)
        (directory / name).write_bytes(content)


def _joined(log: str) -> list[str]:
    """Calls that another thread's calls came between, in one line each."""
    begun: dict[str, str] = {}
    lines = []
    for line in log.splitlines():
        thread = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line[: -len("<unfinished ...>")].rstrip()
        elif " resumed>" in line and thread in begun:
            lines.append(begun.pop(thread) + line.split(" resumed>", 1)[1])
        else:
            lines.append(line)
    return lines


def _path(name: str, arguments: str) -> str:
    """The file that a call is about."""
    if name in ("openat", "unlink", "rename"):
        text = _TEXT.search(arguments)
        assert text is not None
        return _bytes(text[1]).decode()
    fd = _FD.match(arguments)
    return _bytes(fd[1]).decode() if fd is not None and "\\x" in fd[1] else fd[1] if fd is not None else ""


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _data(arguments: str) -> bytes:
    text = _TEXT.search(arguments)
    assert text is not None
    return _bytes(text[1])


def _actions(
    call: str, arguments: str, result: int, base: str, files: dict[str, int], is_directory: bool
) -> list[Action]:
    if is_directory:
        return [Action("sync_directory")] if call in ("fsync", "fdatasync") else []
    if call == "openat":
        if "O_CREAT" not in arguments or base in files:
            return []
        files[base] = max(files.values(), default=0) + 1
        return [Action("create", files[base], base)]
    if base not in files:
        return []
    number = files[base]
    if call == "unlink":
        del files[base]
        files[f"gone {number}"] = number
        return [Action("unlink", number, base)]
    if call == "rename":
        target = os.path.basename(_bytes(_TEXT.findall(arguments)[1]).decode())
        files[target] = files.pop(base)
        return [Action("rename", number, base, target=target)]
    if call == "pwrite64":
        return [Action("write", number, base, int(arguments.rsplit(", ", 1)[1]), _data(arguments)[:result])]
    if call == "ftruncate":
        return [Action("truncate", number, base, int(arguments.rsplit(", ", 1)[1]))]
    assert call in ("fsync", "fdatasync"), call
    return [Action("sync", number, base)]
