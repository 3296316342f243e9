"""One thread: all items in, then all out and acknowledged; and one item in and out at a time."""

from __future__ import annotations

from time import perf_counter

from ..contender import Contender, Level
from ..footprint import files, payload
from ..scenario import Job, Metric, Report, Scenario, check, timed_get, timed_put

_PUT = Metric("put", "items/s")
_GET = Metric("get+done", "items/s")
_DISK = Metric("disk beyond the payload", "bytes/item", more=False)
_DRAINED = Metric("files when drained", "files", more=False)
_CLOSED = Metric("files when closed empty", "files", more=False)
_LEFT = Metric("disk when closed empty", "bytes", more=False)


def put_then_get(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Fill, then drain."""
    directory, count = job.directory, job.operations
    handle = contender.open(directory, Level(job.level))
    given = scenario.items(count)
    values = {_PUT.name: count / timed_put(handle.put, given)}
    on_disk = files(directory).allocated
    (item,) = scenario.items(1)
    values[_GET.name] = count / timed_get(handle.get, handle.done, count)
    if on_disk:
        values[_DISK.name] = on_disk / count - payload(item)
        values[_DRAINED.name] = files(directory).number
    check(handle, scenario)
    if on_disk:
        handle.close()
        values[_CLOSED.name], values[_LEFT.name] = files(directory)
    report(values)


def ping_pong(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """One item in, out, acknowledged, and the next one."""
    handle = contender.open(job.directory, Level(job.level))
    put, get, done = handle.put, handle.get, handle.done
    given = scenario.items(job.operations)
    start = perf_counter()
    for item in given:
        put(item)
        done(get())
    seconds = perf_counter() - start
    check(handle, scenario)
    report({"pairs": job.operations / seconds})


def _put_get(name: str, about: str, level: Level, size: int, *, is_ascii: bool = True) -> Scenario:
    floor = "bare-fdatasync" if level is Level.POWER else "bare-write"
    return Scenario(
        name=name,
        about=about,
        level=level,
        floor=floor,
        metrics=(_PUT, _GET, _DISK, _DRAINED, _CLOSED, _LEFT),
        steps=(put_then_get,),
        size=size,
        is_ascii=is_ascii,
        quick=is_ascii,
        also=("bare-insert",),
    )


SCENARIOS = (
    _put_get("items-40", "40 characters, one thread: all in, then all out and acknowledged", Level.PROCESS, 40),
    _put_get("items-1k", "the same with 1 KiB", Level.PROCESS, 1024),
    _put_get("items-100k", "the same with 100 KiB", Level.PROCESS, 102_400),
    _put_get("items-utf8", "the same with 20 letters that aren't ASCII", Level.PROCESS, 20, is_ascii=False),
    _put_get("power", 'the same with 40 characters at "power"', Level.POWER, 40),
    Scenario(
        name="ping-pong",
        about="one item in, out and acknowledged, then the next one",
        level=Level.PROCESS,
        floor="bare-write",
        metrics=(Metric("pairs", "pairs/s"), Metric("put", "items/s")),
        steps=(ping_pong,),
    ),
    Scenario(
        name="ping-pong-power",
        about='the same at "power"',
        level=Level.POWER,
        floor="bare-fdatasync",
        metrics=(Metric("pairs", "pairs/s"), Metric("put", "items/s")),
        steps=(ping_pong,),
    ),
)
