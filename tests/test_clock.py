"""What the program sees of our pauses: how long they are, and nothing else."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable

import pytest

from pqadapters import clock
from pqadapters.concurrent.futures._jobs.options import Options
from pqadapters.logging._delivery.sinks import Sink
from pqadapters.stores.mysql import core as mysql
from pqadapters.stores.sqlite import database as sqlite

PAUSES: dict[str, Callable[[], object]] = {
    "a busy database": lambda: sqlite.rest(0.001),
    "a busy server": lambda: mysql.rest(0.001),
    "the next try of a job": lambda: Options(backoff=2.0).pause(1),
    "the next try of a sink": lambda: Sink(logging.NullHandler()).pause(1),
}


@pytest.mark.parametrize("pause", PAUSES.values(), ids=PAUSES)
def test_a_program_that_has_seeded_random_gets_its_numbers(pause: Callable[[], object]) -> None:
    random.seed(7)
    state = random.getstate()
    pause()
    assert random.getstate() == state


def test_pauses_are_spread_between_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: b"\0" * count)
    assert clock.spread(2.0, 6.0) == 2.0
    monkeypatch.setattr(os, "urandom", lambda count: b"\x80" + b"\0" * (count - 1))
    assert clock.spread(2.0, 6.0) == 4.0
    monkeypatch.setattr(os, "urandom", lambda count: b"\xff" * count)
    assert 5.9 < clock.spread(2.0, 6.0) < 6.0
