"""How a serializer is chosen: by name, by library, or the user's own."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, BinaryIO

import pytest

import pqadapters.serializers
from pqadapters.serializers import NAMES, serializer
from pqadapters.serializers import cbor2 as cbor2_serializer
from pqadapters.serializers import msgpack as msgpack_serializer

from .formats import chosen, each, with_library


class Hex:
    """A user's own serializer, of text alone."""

    def dump(self, value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
        fp.write(self.dumps(value) + b"\n")

    def load(self, fp: BinaryIO) -> object:
        return self.loads(fp.readline().strip())

    def dumps(self, value: object, sort_keys: bool = False) -> bytes:
        return str(value).encode().hex().encode()

    def loads(self, data: bytes) -> object:
        return bytes.fromhex(data.decode()).decode()


@each
def test_a_name(name: str) -> None:
    module: Any = chosen(name)
    assert module.__name__ == f"pqadapters.serializers.{name}"


@pytest.mark.parametrize("library", [json, pickle])
def test_a_library_means_ours_of_that_name(library: ModuleType) -> None:
    assert serializer(library) is serializer(library.__name__)


@each
def test_our_module(name: str) -> None:
    assert serializer(chosen(name)) is chosen(name)


def test_the_users_own_object() -> None:
    own = Hex()
    assert serializer(own) is own
    assert serializer(own).loads(serializer(own).dumps("é")) == "é"


def test_the_users_own_module() -> None:
    module = ModuleType("own")
    vars(module).update({method: getattr(Hex(), method) for method in ("dump", "load", "dumps", "loads")})
    assert serializer(module) is module


def test_another_name() -> None:
    with pytest.raises(ValueError, match=r"no serializer 'yaml'.*'pickle', 'json', 'msgpack', 'cbor2'"):
        serializer("yaml")


@pytest.mark.parametrize("wrong", [None, 1, object(), sys])
def test_something_else(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"lacks dump\(\), load\(\), dumps\(\), loads\(\)"):
        serializer(wrong)


def test_an_object_that_lacks_a_method() -> None:
    half: Any = SimpleNamespace(dumps=repr, loads=eval, dump=None)
    with pytest.raises(TypeError, match=r"lacks dump\(\), load\(\)$"):
        serializer(half)


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (msgpack_serializer, cbor2_serializer):
        monkeypatch.setitem(sys.modules, module.__name__.rpartition(".")[2], None)
        module._library.cache_clear()
    yield
    for module in (msgpack_serializer, cbor2_serializer):
        module._library.cache_clear()


@with_library
@pytest.mark.usefixtures("no_libraries")
def test_a_missing_library_is_named_with_its_extra(name: str) -> None:
    with pytest.raises(ImportError, match=rf"pip install 'pqadapters\[{name}\]'") as caught:
        serializer(name)
    assert caught.value.name == name
    with pytest.raises(ImportError, match=r"pqadapters\[") as caught:
        getattr(pqadapters.serializers, name).loads(b"\xf6")


@pytest.mark.usefixtures("no_libraries")
def test_the_others_need_no_library() -> None:
    assert all(serializer(name).dumps(1) for name in NAMES[:2])
