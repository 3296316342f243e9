"""Jobs on their last attempt run one at a time, beside jobs of this process that were never begun."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from pqadapters.concurrent.futures._suspects import Suspects

from . import work


def test_one_at_a_time() -> None:
    suspects = Suspects()
    assert suspects.enter()
    assert suspects.begin(b"a")
    suspects.leave()
    assert not suspects.enter(), "while it runs, not everything may be claimed"
    assert not suspects.begin(b"b")
    suspects.leave()
    assert not suspects.end(b"b")
    assert suspects.end(b"a")
    assert suspects.enter()


def test_it_begins_when_claims_on_their_way_are_decided() -> None:
    suspects, begun = Suspects(), threading.Event()

    def begin() -> None:
        suspects.enter()
        suspects.begin(b"a")
        begun.set()

    suspects.enter()
    thread = threading.Thread(target=begin)
    thread.start()
    while suspects.running is None:
        thread.join(0.01)
    assert not begun.is_set()
    suspects.leave()
    thread.join(work.PATIENCE)
    assert begun.is_set()


def test_jobs_that_were_never_begun_may_run_beside_it() -> None:
    suspects = Suspects()
    new: Any = SimpleNamespace(attempts=0)
    old: Any = SimpleNamespace(attempts=1)
    assert suspects.allow(old)
    suspects.enter()
    suspects.begin(b"a")
    assert suspects.allow(new)
    assert not suspects.allow(old)
