"""The contenders, one module each. A new one needs a module with a `CONTENDER`, and its name in `MODULES`."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from ..contender import Contender

OURS = "pqadapters"
OUR_MAPPING = "pqadapters-pdict"
OUR_LOOP = "pqadapters-asyncio"
OUR_FAMILY = "pqadapters-multiprocessing"
OUR_START = "pqadapters-run"
OUR_EXECUTOR = "pqadapters-executor"
OUR_LOG = "pqadapters-logging"
OUR_LOG_JSON = "pqadapters-logging-json"
OUR_PERSISTQUEUE = "pqadapters-1-file"
MODULES = (
    "ours",
    "ours_get",
    "bare_write",
    "bare_fdatasync",
    "bare_queue",
    "bare_insert",
    "ours_sqlite",
    "ours_sqlite_ahead",
    "ours_sqlite_get",
    "stdlib",
    "persistqueue_file",
    "persistqueue_sqlite",
    "persistqueue_ack",
    "queuelib",
    "diskcache",
    "huey",
    "litequeue",
    "localqueue",
    "honker",
    "leanqueue",
    "rocksq",
    "lmdb",
    "ours_pdict",
    "bare_replace",
    "ours_shelf",
    "ours_pdict_segment",
    "persistqueue_pdict",
    "diskcache_index",
    "sqlitedict",
    "dbm_sqlite3",
    "ours_asyncio",
    "ours_asyncio_sqlite",
    "stdlib_asyncio",
    "ours_multiprocessing",
    "ours_multiprocessing_ahead",
    "stdlib_multiprocessing",
    "ours_run",
    "ours_by_hand",
    "stdlib_start",
    "ours_executor",
    "stdlib_executor",
    "huey_executor",
    "persistqueue_executor",
    "ours_logging",
    "ours_logging_json",
    "stdlib_logging",
    "bare_logging",
    "persistqueue_logging",
    "loguru_enqueue",
    "logstash_async",
    "ours_mysql",
    "bare_mysql_insert",
    "bare_mysql_claim",
    "ours_mysql_single",
    "ours_mysql_told",
    "ours_mysql_ahead",
    "persistqueue_mysql",
)


@cache
def contenders() -> dict[str, Contender]:
    """All of them by name: queues, mappings, queues of event loops, programs; ours and the bare loops first."""
    found: list[Contender] = [import_module(f"{__name__}.{module}").CONTENDER for module in MODULES]
    found += import_module(f"{__name__}.persistqueue_own").CONTENDERS
    return {each.name: each for each in found}
