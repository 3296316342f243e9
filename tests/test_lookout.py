"""The thread that hears of other processes, whichever store it is of: how long it stays."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.stores import _lookout
from pqadapters.stores._lookout import LookoutBase

_LINGER = 2.0


class _Core:
    def __init__(self) -> None:
        self.bells: Any = SimpleNamespace(waiting=0)


def test_it_stays_while_somebody_waits_and_a_while_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(_lookout, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    core = _Core()
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: None, _LINGER)

    def begin() -> None:
        lookout.ensure()
        lookout._thread = threading.current_thread()

    begin()
    now += _LINGER - 0.1
    assert lookout.core_to_serve() is core
    now += 0.2
    core.bells.waiting = 1
    assert lookout.core_to_serve() is core
    core.bells.waiting = 0
    assert lookout.core_to_serve() is None
    assert lookout._thread is None
    begin()
    assert lookout.core_to_serve() is core, "who finds that there is none begins it anew"
    lookout.stop(wait=False)
    assert lookout.core_to_serve() is None
