"""The same where msgpack isn't installed: records are JSON then."""

from __future__ import annotations

import sys
from typing import Any

from ..contender import Level, LogHandle
from . import OUR_LOG_JSON
from .ours_logging import CONTENDER as _WITH_MSGPACK
from .ours_logging import open_log


def _open_log(directory: str, level: Level) -> LogHandle:
    modules: dict[str, Any] = sys.modules
    modules["msgpack"] = None  # nothing has imported it yet: each measurement is a process of its own
    return open_log(directory, level)


CONTENDER = _WITH_MSGPACK._replace(
    name=OUR_LOG_JSON,
    about="the same without msgpack: records are JSON",
    open_log=_open_log,
    modules=("pqadapters",),
)
