"""Constructors: where a queue lives, what they refuse, and who closes the store."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pqadapters import PDict
from pqadapters.durability import Durability, Survives
from pqadapters.errors import DiskError, StoreClosed, StoreRefused
from pqadapters.stdlib import queue as durable
from pqadapters.stdlib.queue import Queue
from pqadapters.stores._directory import make
from pqadapters.stores._disk import Disk
from pqadapters.stores.memory import MemoryStore
from tests.segment.programs import PATIENCE, ROOT

KINDS: list[Any] = [durable.Queue, durable.LifoQueue, durable.PriorityQueue, durable.SimpleQueue]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@every_kind
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"path": "/x", "store": "memory:"}, ValueError, "one of them"),
        ({"path": 5}, TypeError, "not int"),
        ({"path": True}, TypeError, "not bool"),
        ({"path": ["a"]}, TypeError, "not list"),
        ({"path": ""}, ValueError, "names none"),
        ({"path": b""}, ValueError, "names none"),
        ({"store": 7}, TypeError, "not int"),
        ({"store": "mysql://u@h"}, ValueError, "host:3306/database"),
        ({"store": "ftp://x"}, ValueError, "names no store"),
        ({"store": "sqlite:jobs.db"}, ValueError, "write sqlite:///"),
        ({"store": "sqlite:x/jobs.db"}, ValueError, "write sqlite:///"),
        ({"store": "sqlite:/x/jobs.db"}, ValueError, "write sqlite:///"),
        ({"store": "sqlite:///:memory:"}, ValueError, "memory:"),
        ({"store": "sqlite:////:memory:"}, ValueError, "memory:"),
        ({"path": "sqlite:///jobs.db"}, ValueError, "give it as store="),
        ({"path": "memory:"}, ValueError, "give it as store="),
        ({"path": Path("sqlite:///jobs.db")}, ValueError, "give it as store="),
        ({"path": "sqlite:/jobs.db"}, ValueError, "give it as store="),
        ({"store": MemoryStore(), "durability": "power"}, ValueError, "durability"),
        ({"store": MemoryStore(), "trust_directory": True}, ValueError, "trust_directory"),
        ({"store": "sqlite:///jobs.db?durability=fast"}, ValueError, "no value for durability, which is 'power' or"),
        ({"store": "sqlite:///jobs.db?max_lag=nan"}, ValueError, "'nan' is no value for max_lag"),
        ({"store": "memory:?wrong=1"}, ValueError, "takes no path and no options"),  # it was told of some
        ({"store": "memory:", "name": ""}, ValueError, "empty"),
        ({"store": "memory:", "name": 3}, TypeError, "not int"),
        ({"store": "memory:", "serializer": "yaml"}, ValueError, "yaml"),
        ({"store": "memory:", "serializer": 3}, TypeError, "dumps"),
        ({"store": "memory:", "max_attempts": 0}, ValueError, "too few"),
        ({"store": "memory:", "max_attempts": "3"}, TypeError, "not str"),
        ({"store": "memory:", "max_attempts": True}, TypeError, "not bool"),
    ],
)
def test_what_is_refused_is_refused_in_plain_words(
    kind: Any,
    options: dict[str, Any],
    error: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A URL with a slash too few was the database of another name, in the root directory or beside the program."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        kind(**options)
    assert os.listdir(tmp_path) == []


def test_bad_words_for_durability_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'power' or 'process'"):
        Queue(path=tmp_path / "q", durability="fast")
    with pytest.raises(ValueError, match="max_lag"):
        Queue(path=tmp_path / "q", durability="process", max_lag=0)
    monkeypatch.setenv("PQADAPTERS_DURABILITY", "process")
    with pytest.raises(ValueError, match=r"^max_lag"):  # the variable was blamed
        Queue(path=tmp_path / "q", max_lag=0)
    with pytest.raises(ValueError, match="ack"):
        Queue(path=tmp_path / "q", ack="later")
    with pytest.raises(TypeError):
        Queue(0, "path")  # type: ignore[call-arg]
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("url", ["file://{}/q", "sqlite:///{}/q.db"])
def test_the_word_in_a_durability_counts(url: str, tmp_path: Path) -> None:
    """`Durability("power")` was neither: nothing was synced. `Durability("fast")` was taken as well."""
    for word in ("power", "process"):
        meant: Any = Durability(word, 0.5)  # type: ignore[arg-type]
        with Queue[int](store=url.format(tmp_path), durability=meant) as q:
            assert q._line.store.durability == Durability(Survives(word), 0.5)
    wrong: Any = Durability("fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'power' or 'process'"):
        Queue(store=url.format(tmp_path), durability=wrong)


@pytest.mark.parametrize("lag", [float("inf"), 1e300])
def test_a_lag_is_a_day_at_most(tmp_path: Path, lag: float) -> None:
    """No thread waits for as long as that: the one that syncs a database, and looks for dead processes, ended."""
    for place in ({"path": tmp_path / "q"}, {"store": f"sqlite:///{tmp_path}/q.db"}):
        options: dict[str, Any] = {**place, "durability": "process", "max_lag": lag}
        with Queue[int](**options) as q:
            q.put(1)
            assert q._line.store.durability.max_lag == 86400


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises((StoreRefused, OSError), match="file"):
        Queue(path=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@every_kind
@pytest.mark.parametrize("form", [os.fspath, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_a_path_in_any_form_is_kept_and_let_go_of_at_close(kind: Any, form: Any, tmp_path: Path) -> None:
    path = form(tmp_path / "q")
    with kind(path=path, durability="process") as q:
        q.put(1)
        assert str(tmp_path / "q") in repr(q)
        assert repr(q).startswith(f"<pqadapters.stdlib.queue.{kind.__name__} 'default' in ")
    with kind(path=path, name="other") as other, kind(path=path) as again:
        assert other.empty()
        assert again.get() == 1


def test_a_url_opens_a_store_of_the_queues_own(tmp_path: Path) -> None:
    with Queue[int](store=f"file://{tmp_path}/q?durability=process") as q:
        q.put(1)
        store = q._line.store
    with pytest.raises(StoreClosed):
        store.depth("default")
    with Queue[int](store=f"file://{tmp_path}/q", durability="process") as q:
        assert q._line.store.durability.survives.value == "process"
        assert q.get() == 1
    with Queue[int](store="memory:") as q:
        q.put(1)


@pytest.mark.parametrize("url", ["MEMORY:", " memory:"])
def test_a_url_in_memory_takes_no_option_that_nobody_gave_however_it_is_written(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused, as if the environment's word had been given for it."""
    monkeypatch.setenv("PQADAPTERS_DURABILITY", "process")
    with Queue[int](store=url) as q:
        q.put(1)
        assert q.get() == 1


@every_kind
def test_a_store_that_was_given_stays_open(kind: Any) -> None:
    store = MemoryStore()
    with kind(store=store) as q:
        q.put(1)
        assert q.get() == 1
        q.put(2)
    assert store.depth("default").claimed == 0
    assert store.depth("default").ready == 1  # close() without any task_done(): what was fetched is done


@pytest.mark.parametrize(
    ("where", "options"),
    [("file://{}/q", {"markers": "drop"}), ("sqlite:///{}/q.db", {}), ("memory:", {"markers": "drop"})],
    ids=["segment", "sqlite", "memory"],
)
@pytest.mark.parametrize(
    "name",
    ["a/b", "..", "a\0b", "\n", "\udcff", "x" * 100_000],
    ids=["slash", "dots", "zero", "line", "surrogate", "long"],
)
def test_any_text_is_a_name(where: str, options: Any, name: str, tmp_path: Path) -> None:
    """With a surrogate in it, as of an undecodable file's, there was an UnicodeEncodeError."""
    for _ in range(2):
        with Queue[Any](store=where.format(tmp_path), name=name, **options) as q:
            q.put(None)
            q.put(1)
            assert (q.name, q.get(), q.get()) == (name, None, 1)
            q.task_done()
            q.task_done()


def test_a_path_that_is_too_long_for_a_database_is_refused_in_plain_words(tmp_path: Path) -> None:
    """SQLite can't open it and says nothing more: it was "Permission denied"."""
    directory = tmp_path.joinpath(*["d" * 50] * (1 + (500 - len(bytes(tmp_path))) // 51))
    with pytest.raises(DiskError, match="shorter path") as caught:
        Queue(store=f"sqlite:///{directory}/q.db")
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_path_of_more_directories_than_python_may_call_itself(tmp_path: Path) -> None:
    """It was a RecursionError."""
    path = tmp_path.joinpath(*["d"] * (sys.getrecursionlimit() + 9))
    if len(bytes(path)) > 4000:
        pytest.skip("the system takes no such path")
    make(str(path), Disk())
    assert path.is_dir()
    (tmp_path / "kept").touch()
    os.removedirs(path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are UTF-8")
@pytest.mark.parametrize("url", ["sqlite:///{}/q.db", "file://{}/q"])
def test_the_url_of_a_directory_whose_name_isnt_utf8(url: str, tmp_path: Path) -> None:
    """It was made elsewhere, in a directory of a similar name."""
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir(mode=0o700)
    q: Queue[int] = Queue(store=url.format(quote(os.fsencode(directory))))
    with q:
        q.put(1)
    assert os.listdir(tmp_path) == [directory.name]
    assert any(name.startswith("q") for name in os.listdir(directory))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are UTF-8")
def test_a_relative_url_where_the_directorys_name_isnt_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir(mode=0o700)
    monkeypatch.chdir(directory)
    d: PDict[int, int] = PDict(store="sqlite:///d.db", name="d")
    with d:
        d[1] = 2
    assert os.listdir(tmp_path) == [directory.name]
    assert "d.db" in os.listdir(directory)


def test_a_url_names_the_same_file_whatever_the_locale(tmp_path: Path) -> None:
    """Where that has no such letter, each URL that named the file was a UnicodeEncodeError."""
    here = tmp_path / "Aufträge"
    here.mkdir(mode=0o700)
    code = "import sys; from pqadapters.stdlib.queue import Queue; Queue(store=sys.argv[1]).put(1)"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    for url in ("sqlite:///relative.db", f"sqlite:///{here}/raw.db", f"sqlite:///{quote(str(here))}/quoted.db"):
        command = [sys.executable, "-c", code, url]
        subprocess.run(command, cwd=here, env={**os.environ, **plain}, check=True, timeout=PATIENCE)
    for name in ("relative", "raw", "quoted"):
        with durable.Queue[int](store=f"sqlite:///{here}/{name}.db") as q:
            assert q.qsize() == 1


def test_two_queues_on_one_path_in_one_process_share_it(tmp_path: Path) -> None:
    a: Queue[int] = Queue(path=tmp_path)
    b: Queue[int] = Queue(path=tmp_path)
    a.put(1)
    assert b.get() == 1
    assert a.empty()
    a.close()
    b.put(2)
    b.close()


def test_a_hook_that_fails_in_the_constructor_lets_go_of_the_store(tmp_path: Path) -> None:
    stores = []

    class Fails(Queue[int]):
        def _init(self, maxsize: int) -> None:
            stores.append(self._line.store)
            raise LookupError("no")

    with pytest.raises(LookupError):
        Fails(path=tmp_path)
    with pytest.raises(StoreClosed):
        stores[0].depth("default")


def test_a_users_own_serializer(tmp_path: Path) -> None:
    class Reprs:
        def dumps(self, value: object, sort_keys: bool = False) -> bytes:
            return repr(value).encode()

        def loads(self, data: bytes) -> object:
            return data.decode()

        def dump(self, value: object, fp: Any, sort_keys: bool = False) -> None: ...

        def load(self, fp: Any) -> object: ...

    with Queue[Any](path=tmp_path, serializer=Reprs()) as q:
        q.put({1: 2})
        assert q.get() == "{1: 2}"
