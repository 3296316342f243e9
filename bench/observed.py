"""What a contender's items, or its keys, survive, as observed: which syncs come before a put or a set returns, and what
SIGKILL leaves.

The first by strace(1), where it is installed: a put whose return no sync comes before is lost in a power cut. The
second by killing a process behind its puts and one get, or its sets, and looking from another process. Nothing is left
on the disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .contender import Contender, Level
from .measurement import Failed, end_with_children, ended, last_words, run, scratch_in, started
from .subject import MARK, Subject

_TRACED, _KILLED = 20, 200  #: items
_SYNCS = ("fsync", "fdatasync", "msync", "syncfs", "sync")  # sync_file_range is none: the disk may keep it in its cache
_MARKED = re.compile(rf'write\(1, "{MARK} (put|get)-(begins|ends) ')
_SYNCED = re.compile(rf"(?:^|\s)(?:<\.\.\. )?(?:{'|'.join(_SYNCS)})(?:\(| resumed>).*=\s*0$")


def observe(contender: Contender, level: Level, directory: Path, patience: float) -> dict[str, Any]:
    """Both, as plain values; "none" says why there is no answer."""
    return {each.__name__.lstrip("_"): each(contender, level, directory, patience) for each in (_trace, _kill)}


# Syncs


def _trace(contender: Contender, level: Level, directory: Path, patience: float) -> dict[str, Any]:
    if not contender.is_observed:
        return {"none": "no queue"}
    if shutil.which("strace") is None:
        return {"none": "strace isn't installed"}
    with scratch_in(directory) as scratch:
        place, log = os.path.join(scratch, "queue"), os.path.join(scratch, "trace")
        os.mkdir(place, 0o700)
        tracer = ["strace", "-f", "-qq", "-s", "64", "-e", f"trace=write,{','.join(_SYNCS)}", "-o", log]
        try:
            command = [*tracer, *_command("trace", contender, level, place, _TRACED)]
            done = ended(command, cwd=scratch, patience=patience)
        except Failed as error:
            return {"none": str(error)}
        if done.returncode:
            return {"none": last_words(done)}
        return count_syncs(Path(log).read_text(errors="replace").splitlines())


def count_syncs(lines: Iterable[str]) -> dict[str, Any]:
    """What a trace tells: how many syncs came back between the marks of each step."""
    syncs: dict[str, list[int]] = {"put": [], "get": []}
    inside = ""
    for line in lines:
        if "MS_ASYNC" in line:  # waits for nothing
            continue
        if mark := _MARKED.search(line):
            word, side = mark.group(1), mark.group(2)
            inside = word if side == "begins" else ""
            if inside:
                syncs[inside].append(0)
        elif inside and _SYNCED.search(line):
            syncs[inside][-1] += 1
    puts, gets = syncs["put"], syncs["get"]
    if not puts:
        return {"none": "the trace has no marks"}
    counts = {"puts": len(puts), "synced_puts": sum(map(bool, puts)), "syncs_per_put": sum(puts) / len(puts)}
    return {**counts, "syncs_per_done": sum(gets) / len(gets)} if gets else counts


# SIGKILL


def _kill(contender: Contender, level: Level, directory: Path, patience: float) -> dict[str, Any]:
    if not contender.is_observed:
        return {"none": "no queue"}
    if not contender.gets and not contender.puts_alone:
        return {"none": "hands nothing out"}
    if contender.puts_alone and contender.left is None:
        return {"none": "its workers do the calls meanwhile"}
    with scratch_in(directory) as scratch:
        place = os.path.join(scratch, "queue")
        os.mkdir(place, 0o700)
        try:
            command = _command("fill", contender, level, place, _KILLED)
            filled = _kill_when_it_holds(command, scratch, patience)
            job = _command("drain", contender, level, place, _KILLED)[-1]
            drained = run("bench.subject", job, cwd=scratch, patience=patience)
        except (Failed, OSError) as error:
            return {"none": str(error)}
    announced, held = _said(filled, "put"), _said(filled, "held")
    if not held:
        return {"none": "it ended before it held an item"}
    if contender.puts_alone:
        return {"announced": len(announced), "found": int(_said(drained, "left")[0])}
    found = set(_said(drained, "found"))
    expected = [item for item in announced if item != held[0]]
    counts = {"announced": len(expected), "found": sum(item in found for item in expected)}
    return {**counts, "held_again": held[0] in found} if held[0] else counts  # a mapping holds none


def _kill_when_it_holds(command: Sequence[str], scratch: str, patience: float) -> list[str]:
    """What it said, up to holding an item. Its end is SIGKILL then, or when `patience` ends."""
    lines: list[str] = []
    with started(command, cwd=scratch, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        late = threading.Timer(patience, end_with_children, [process])
        late.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if line.startswith(f"{MARK} held "):
                    break
        finally:
            late.cancel()
    return lines


def _said(lines: str | Sequence[str], word: str) -> list[str]:
    lead = f"{MARK} {word} "
    found = lines.splitlines() if isinstance(lines, str) else lines
    return [line.rstrip("\n")[len(lead) :] for line in found if line.startswith(lead)]


def _command(mode: str, contender: Contender, level: Level, place: str, count: int) -> list[str]:
    job = Subject(mode, contender.name, level.value, place, count)
    return [sys.executable, "-m", "bench.subject", json.dumps(job._asdict())]
