"""Snapshots of weak collections, while threads and finalizers change them."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from pqadapters.living import living, take_out

from .contract.threads import Task


class _Thing:
    pass


def _into_set(collection: Any, thing: _Thing) -> None:
    collection.add(thing)


def _into_dictionary(collection: Any, thing: _Thing) -> None:
    collection[id(thing)] = thing


KINDS: dict[type, Callable[[Any, _Thing], None]] = {
    weakref.WeakSet: _into_set,
    weakref.WeakValueDictionary: _into_dictionary,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_lives_is_there_and_what_is_gone_isnt(kind: type) -> None:
    collection = kind()
    kept = [_Thing() for _ in range(3)]
    for thing in [*kept, _Thing()]:
        KINDS[kind](collection, thing)
    del thing
    gc.collect()
    assert sorted(map(id, living(collection))) == sorted(map(id, kept))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_it_meanwhile(kind: type) -> None:
    """A store was closed while another one was opened: "dictionary changed size during iteration"."""
    collection, over = kind(), threading.Event()
    kept = [_Thing() for _ in range(100)]
    for thing in kept:
        KINDS[kind](collection, thing)

    def change() -> None:
        while not over.is_set():
            own = [_Thing() for _ in range(10)]
            for each in own:
                KINDS[kind](collection, each)

    tasks = [Task(change, patience=100.0) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3000):
            found = living(collection)
            assert len(found) >= len(kept)
            del found
    finally:
        sys.setswitchinterval(before)
        over.set()
        for task in tasks:
            task.result()


def test_one_is_taken_out_under_all_its_keys() -> None:
    collection: weakref.WeakValueDictionary[str, _Thing] = weakref.WeakValueDictionary()
    one, other = _Thing(), _Thing()
    collection.update({"a": one, "b": other, "c": one})
    take_out(collection, one)
    assert dict(collection) == {"b": other}
    take_out(collection, one)
