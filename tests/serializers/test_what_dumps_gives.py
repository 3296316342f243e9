"""A serializer of the program's own may give anything for some value: what isn't bytes is refused, and told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters import PDict, persistqueue
from pqadapters.errors import NotSerializable
from pqadapters.stdlib import queue

_Use = Callable[[Path, Any], Any]
_ODD = "odd"


def _serializer(given: object) -> SimpleNamespace:
    def dumps(value: object, sort_keys: bool = False) -> Any:
        return given if value == _ODD else pickle.dumps(value)

    return SimpleNamespace(dumps=dumps, loads=pickle.loads, dump=pickle.dump, load=pickle.load)


def _queue(place: Path, serializer: Any, **options: Any) -> Any:
    with closing(queue.Queue[Any](path=place, serializer=serializer, **options)) as q:
        q.put("first")
        try:
            q.put(_ODD)
        finally:
            assert q.get() == "first"
            q.task_done()
        return q.get()


def _signed(place: Path, serializer: Any) -> Any:
    return _queue(place, serializer, signing_key=b"k" * 32)


def _mapping(place: Path, serializer: Any) -> Any:
    with closing(PDict[str, Any](place, "d", serializer=serializer)) as d:
        try:
            d["a"] = _ODD
        finally:
            assert len(d) == ("a" in d)
        return d["a"]


def _theirs(kind: Any) -> _Use:
    def use(place: Path, serializer: Any) -> Any:
        with closing(kind(str(place), serializer=serializer)) as q:
            try:
                q.put(_ODD)
            finally:
                if kind is not persistqueue.Queue:
                    assert q.size in (0, 1)
            return q.get()

    return use


_USES = {
    "queue": _queue,
    "signed": _signed,
    "mapping": _mapping,
    "persist-queue's": _theirs(persistqueue.Queue),
    "its database": _theirs(persistqueue.SQLiteQueue),
    "its unique one": _theirs(persistqueue.UniqueQ),
}


@pytest.mark.parametrize("use", _USES.values(), ids=_USES)
@pytest.mark.parametrize("given", [None, "text", 5])
def test_what_is_no_bytes_is_refused_and_nothing_stored(use: _Use, given: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"dumps\\(\\) gave {type(given).__name__} and not bytes"):
        use(tmp_path / "place", _serializer(given))


@pytest.mark.parametrize("use", _USES.values(), ids=_USES)
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_is_as_good_as_bytes_is_taken(use: _Use, kind: Any, tmp_path: Path) -> None:
    assert use(tmp_path / "place", _serializer(kind(pickle.dumps(7)))) == 7


def test_none_too_has_bytes_of_its_own(tmp_path: Path) -> None:
    odd = SimpleNamespace(dumps=lambda value: value and pickle.dumps(value), loads=print, dump=print, load=print)
    refused = pytest.raises(NotSerializable, match="gave NoneType")
    with closing(queue.Queue[Any](path=tmp_path / "q", serializer=odd)) as q, refused:
        q.put(None)
