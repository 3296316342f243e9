"""The figures that the stores and the adapters are to reach, and whether a result shows them.

A figure is a ratio of two series of one run, or one series below a limit, by itself or beyond another one. What a run
didn't measure is said so, and neither reached nor missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .contenders import OUR_EXECUTOR, OUR_FAMILY, OUR_LOG, OUR_LOG_JSON, OUR_LOOP, OUR_MAPPING, OUR_START, OURS
from .result import Result, Series, Spread


class Ratio(NamedTuple):
    """One series is at least so many times another."""

    about: str
    of: Series
    to: Series
    least: float

    def spread(self, result: Result) -> Spread | None:
        return result.ratios(self.of, self.to)

    def holds(self, number: float) -> bool:
        return number >= self.least

    @property
    def wanted(self) -> str:
        return f"at least {self.least:g} times"

    @property
    def parts(self) -> Sequence[Series]:
        return self.of, self.to


class Limit(NamedTuple):
    """One series is at most so much."""

    about: str
    of: Series
    most: float
    unit: str

    def spread(self, result: Result) -> Spread | None:
        return result.spread(self.of)

    def holds(self, number: float) -> bool:
        return number <= self.most

    @property
    def wanted(self) -> str:
        return f"at most {self.most:g} {self.unit}"

    @property
    def parts(self) -> Sequence[Series]:
        return (self.of,)


class Excess(NamedTuple):
    """One series is at most so much more than another."""

    about: str
    of: Series
    to: Series
    most: float
    unit: str

    def spread(self, result: Result) -> Spread | None:
        return result.differences(self.of, self.to)

    def holds(self, number: float) -> bool:
        return number <= self.most

    @property
    def wanted(self) -> str:
        return f"at most {self.most:g} {self.unit} more"

    @property
    def parts(self) -> Sequence[Series]:
        return self.of, self.to


Figure = Ratio | Limit | Excess


class Verdict(NamedTuple):
    """What a result says of a figure."""

    about: str
    wanted: str
    reached: bool | None  #: None: not measured
    found: Spread | None
    reason: str  #: why it wasn't measured


_SQLITE, _AHEAD = "pqadapters-sqlite", "pqadapters-sqlite-32"
_SERVER = "pqadapters-mysql"
_SMALL, _MANY, _FEW = "items-40", "backlog-1m", "backlog-10k"
_SETS, _SETS_AGAIN, _GETS, _BATCHES = "mapping-set", "mapping-set-again", "mapping-get", "mapping-batch"
_MANY_KEYS, _FEW_KEYS = "mapping-1m", "mapping-10k"
_FLAT = 0.8  # "flat" within what a busy machine does to two measurements


def _emit(contender: str, scenario: str = "log-emit") -> Series:
    return Series(scenario, contender, "emit")


def _ours(scenario: str, metric: str) -> Series:
    return Series(scenario, OURS, metric)


def _put(contender: str, scenario: str = _SMALL) -> Series:
    return Series(scenario, contender, "put")


def _faster(metric: str) -> list[Ratio]:
    ours = _ours(_SMALL, metric)
    return [
        Ratio(f'"process", 40 characters: {metric}, by {name}\'s', ours, Series(_SMALL, name, metric), 1)
        for name in ("leanqueue", "rocksq")
    ]


def _done(contender: str) -> Series:
    return Series(_SMALL, contender, "get+done")


def _ahead(metric: str, name: str) -> Ratio:
    return Ratio(f"SQLite: {metric}, by {name}'s", Series(_SMALL, _SQLITE, metric), Series(_SMALL, name, metric), 1)


def _mapping(what: str, scenario: str, name: str, least: float) -> Ratio:
    metric = "get" if scenario == _GETS else "set"
    return Ratio(f"{what}, by {name}'s", Series(scenario, OUR_MAPPING, metric), Series(scenario, name, metric), least)


def _mappings(name: str, sets: float, gets: float | None) -> list[Ratio]:
    """Our mapping's sets and gets at "process", by another one's."""
    found = [
        _mapping('mapping, "process": set of new keys', _SETS, name, sets),
        _mapping("mapping: set of existing keys", _SETS_AGAIN, name, sets),
    ]
    return found if gets is None else [*found, _mapping("mapping: get", _GETS, name, gets)]


FIGURES: Sequence[Figure] = (
    Ratio('"process", 40 characters: put, by the bare loop of os.write', _ours(_SMALL, "put"), _put("bare-write"), 0.5),
    Ratio("the same, by persist-queue's file queue", _ours(_SMALL, "put"), _put("persist-queue-file"), 50),
    *_faster("put"),
    Ratio("get+done, by the bare loop's puts", _ours(_SMALL, "get+done"), _put("bare-write"), 0.3),
    *_faster("get+done"),
    Ratio(
        '4 producers and 4 consumers at "process", by queue.Queue',
        _ours("threads-4-4", "items"),
        Series("threads-4-4", "stdlib", "items"),
        0.6,
    ),
    Ratio(
        'put at "power", one thread, by the bare loop of fdatasync',
        _ours("power", "put"),
        _put("bare-fdatasync", "power"),
        0.85,
    ),
    Ratio(
        'put at "power", 16 threads, by the bare loop of one',
        _ours("producers-16", "put"),
        _put("bare-fdatasync", "producers-16"),
        2,
    ),
    Ratio(
        'get+done at "power", by one fdatasync each',
        _ours("power", "get+done"),
        _put("bare-fdatasync", "power"),
        20,
    ),
    Ratio("put with 1,000,000 waiting, by 10,000", _ours(_MANY, "put"), _ours(_FEW, "put"), _FLAT),
    Ratio("get+done with 1,000,000 waiting, by 10,000", _ours(_MANY, "get+done"), _ours(_FEW, "get+done"), _FLAT),
    Limit("memory at 1,000,000, above an empty queue", _ours(_MANY, "memory"), 60, "MB"),
    Limit("the same after an opening", _ours(_MANY, "memory after open"), 60, "MB"),
    Limit("open at 1,000,000 after a close", _ours(_MANY, "open after close"), 0.5, "s"),
    Limit("open at 1,000,000 after SIGKILL", _ours(_MANY, "open after SIGKILL"), 3, "s"),
    Limit("disk beyond the payload at 1,000,000", _ours(_MANY, "disk beyond the payload"), 40, "bytes/item"),
    Limit("drained: LOCK, one segment, the checkpoint", _ours(_SMALL, "files when drained"), 3, "files"),
    Limit("the same when closed", _ours(_SMALL, "files when closed empty"), 3, "files"),
    Ratio('SQLite, "process": put, by the bare loop of INSERTs', _put(_SQLITE), _put("bare-insert"), 0.5),
    *(_ahead("put", name) for name in ("litequeue", "diskcache", "localqueue", "honker")),
    Ratio("SQLite: get+done, by the bare loop's INSERTs", _done(_SQLITE), _put("bare-insert"), 0.2),
    Ratio("the same with prefetch=32", _done(_AHEAD), _put("bare-insert"), 0.4),
    *(_ahead("get+done", name) for name in ("litequeue", "localqueue", "honker", "persist-queue-ack")),
    Ratio(
        'SQLite: put at "power", 16 threads, by one',
        _put(_SQLITE, "producers-16"),
        _put(_SQLITE, "power"),
        2,
    ),
    *(
        Ratio(f"the same, by {name}'s 16", _put(_SQLITE, "producers-16"), _put(name, "producers-16"), 1)
        for name in ("localqueue", "persist-queue-sqlite", "persist-queue-ack", "lmdb")
    ),
    *(
        Ratio(
            f"SQLite: two processes, by {name}'s",
            Series("processes-1-1", _SQLITE, "items"),
            Series("processes-1-1", name, "items"),
            1,
        )
        for name in ("huey", "diskcache")
    ),
    Ratio(
        "SQLite: get+done with 1,000,000 waiting, by 10,000",
        Series(_MANY, _SQLITE, "get+done"),
        Series(_FEW, _SQLITE, "get+done"),
        0.77,
    ),
    Ratio(
        'SQLite: put, get, done at "power", by persist-queue\'s SQLiteAckQueue',
        Series("ping-pong-power", _SQLITE, "pairs"),
        Series("ping-pong-power", "persist-queue-ack", "pairs"),
        1.2,
    ),
    Ratio(
        'the same at "process"',
        Series("ping-pong", _SQLITE, "pairs"),
        Series("ping-pong", "persist-queue-ack", "pairs"),
        10,
    ),
    *_mappings("persist-queue-pdict", 15, None),
    *(each for name in ("diskcache-index", "sqlitedict", "dbm-sqlite3") for each in _mappings(name, 1, 1)),
    *_mappings("bare-replace", 0.5, 0.5),
    Ratio(
        'mapping: set at "power" in batches of 1,000, by one by one',
        Series(_BATCHES, OUR_MAPPING, "set in batches"),
        Series(_BATCHES, OUR_MAPPING, "set"),
        10,
    ),
    Ratio(
        "mapping: get of 1,000,000 keys, by 10,000",
        Series(_MANY_KEYS, OUR_MAPPING, "get"),
        Series(_FEW_KEYS, OUR_MAPPING, "get"),
        _FLAT,
    ),
    Ratio(
        "mapping: get of 1,000,000 keys, by bare-replace's",
        Series(_MANY_KEYS, OUR_MAPPING, "get"),
        Series(_MANY_KEYS, "bare-replace", "get"),
        0.5,
    ),
    Ratio(
        "event loop: put, get, done, by asyncio.Queue's",
        Series("loop-pairs", OUR_LOOP, "pairs"),
        Series("loop-pairs", "stdlib-asyncio", "pairs"),
        0.25,
    ),
    *(
        Ratio(
            f'event loop: 1,000 puts at "power" together, by one by one{where}',
            Series("loop-together", name, "put together"),
            Series("loop-together", name, "put one by one"),
            10,
        )
        for name, where in ((OUR_LOOP, ""), (f"{OUR_LOOP}-sqlite", ", SQLite"))
    ),
    *(
        Limit(f"event loop: how much later a timer's p99 is{where}", Series(scenario, name, "p99 more"), 3, "ms")
        for name, scenario, where in (
            (OUR_LOOP, "loop-timer", ""),
            (OUR_LOOP, "loop-timer-power", ', "power"'),
            (f"{OUR_LOOP}-sqlite", "loop-timer", ", SQLite"),
        )
    ),
    *(
        Ratio(
            f"a process and its child: put and get{how}, by multiprocessing.Queue's",
            Series("family-1-1", name, "items"),
            Series("family-1-1", "stdlib-multiprocessing", "items"),
            least,
        )
        for name, how, least in ((OUR_FAMILY, "", 0.05), (f"{OUR_FAMILY}-256", " with prefetch and put_many", 0.2))
    ),
    Ratio(
        "a server: put with 16 threads, by a bare loop of INSERTs",
        _put(_SERVER, "server-put-16"),
        _put("bare-mysql-insert", "server-put-16"),
        4,
    ),
    Ratio(
        "a server: get+done by 4 processes, by persist-queue's MySQLQueue in one",
        Series("server-get-4", _SERVER, "get+done"),
        Series("server-get-4", "persist-queue-mysql", "get+done"),
        8,
    ),
    Ratio(
        "the same with prefetch=100",
        Series("server-get-4", f"{_SERVER}-100", "get+done"),
        Series("server-get-4", "persist-queue-mysql", "get+done"),
        8,
    ),
    Ratio(
        "a server: get+done with prefetch=100, by a bare loop of SKIP LOCKED",
        Series("server-get-1", f"{_SERVER}-100", "get+done"),
        Series("server-get-1", "bare-mysql-claim", "get+done"),
        0.4,
    ),
    *(
        Ratio(
            f"a server: {metric} with 1,000,000 waiting, by 10,000",
            Series("server-1m", _SERVER, metric),
            Series("server-10k", _SERVER, metric),
            _FLAT,
        )
        for metric in ("put", "get+done")
    ),
    *(
        Ratio(f"logging: emit, by {other}'s", _emit(OUR_LOG), _emit(other), least)
        for other, least in (
            ("stdlib-logging", 0.5),
            ("logstash-async", 1),
            ("loguru-enqueue", 1),
            ("persist-queue-logging", 1),
        )
    ),
    Ratio("logging: emit from 4 threads, by one thread", _emit(OUR_LOG, "log-emit-4"), _emit(OUR_LOG), 1),
    Ratio(
        "logging: emit from 4 threads, by stdlib-logging's from 4",
        _emit(OUR_LOG, "log-emit-4"),
        _emit("stdlib-logging", "log-emit-4"),
        0.5,
    ),
    Ratio("logging: drain, by emit", Series("log-drain", OUR_LOG, "drain"), _emit(OUR_LOG), 3),
    Ratio("logging as JSON: emit, by stdlib-logging's", _emit(OUR_LOG_JSON), _emit("stdlib-logging"), 0.5),
    Ratio("logging as JSON: drain, by emit", Series("log-drain", OUR_LOG_JSON, "drain"), _emit(OUR_LOG_JSON), 3),
    Excess(
        "run: the start of a program",
        Series("start", OUR_START, "start"),
        Series("start", "python", "start"),
        100,
        "ms",
    ),
    *(
        Ratio(
            f"an executor: {about}, by {name}'s",
            Series("executor-calls", OUR_EXECUTOR, metric),
            Series("executor-calls", name, metric),
            least,
        )
        for name, metric, about, least in (
            ("stdlib-executor", "calls", "submit to result", 0.2),
            ("stdlib-executor", "jobs", "the same, all together", 0.2),
            ("huey-consumer", "calls", "submit to result", 15),
            ("persist-queue-loop", "calls", "submit to result", 15),
        )
    ),
    Ratio(
        'an executor: 16 threads that submit at "power", by one',
        Series("executor-16", OUR_EXECUTOR, "jobs"),
        Series("executor-1", OUR_EXECUTOR, "jobs"),
        2,
    ),
    Ratio(
        "an executor: memory of a pending job, the standard library's by ours",
        Series("executor-memory", "stdlib-executor", "memory"),
        Series("executor-memory", OUR_EXECUTOR, "memory"),
        1 / 1.3,
    ),
    Limit(
        "an executor: memory with 1,000,000 jobs left by an earlier process",
        Series("executor-1m", OUR_EXECUTOR, "memory left"),
        100,
        "MB",
    ),
    Limit(
        "an executor: until the first of 100,000 jobs left begins",
        Series("executor-100k", OUR_EXECUTOR, "first"),
        1000,
        "ms",
    ),
    *(
        Ratio(
            f"persist-queue's own benchmark, {metric}, {scenario.partition('-')[2]} items: {what}, by its",
            Series(scenario, f"pqadapters-{which}{ours}", metric),
            Series(scenario, f"persist-queue-{which}", metric),
            least,
        )
        for which, ours, what, least in (
            ("1-file", "", "file queue", 30),
            ("1-sqlite", "", "SQLite queue", 1.2),
            ("1-sqlite-soft", "", "SQLite queue with auto_commit=False", 20),
            ("1-sqlite-soft", "-256", "the same with prefetch=256", 20),
        )
        for scenario in ("theirs-1k", "theirs-100k")
        for metric in ("write", "write+read, one", "write+read, many")
    ),
    Limit("mapping: len of 1,000,000 keys", Series(_MANY_KEYS, OUR_MAPPING, "len"), 1000, "µs"),
)


def evaluate(result: Result, figures: Sequence[Figure] = FIGURES) -> list[Verdict]:
    """Whether the medians reach the figures."""
    return [_verdict(result, each) for each in figures]


def _verdict(result: Result, figure: Figure) -> Verdict:
    found = figure.spread(result)
    if found is None:
        missing = next((each for each in figure.parts if not result.rounds(each)), figure.parts[0])
        reason = f"{missing.contender} in {missing.scenario}: {result.reason(missing.scenario, missing.contender)}"
        return Verdict(figure.about, figure.wanted, None, None, reason)
    return Verdict(figure.about, figure.wanted, figure.holds(found.median), found, "")
