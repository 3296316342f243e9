"""`stats`, `peek`, `dead` and `purge` of a store on a server: what they show and change, and what is in no message."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.clock import Clock
from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.opening import look_at_server, open_store
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Nack, Put
from pqadapters.stores.mysql import MysqlStore, schema
from tests.commands.command import LOOKS, call, loaded, out, process, refusal
from tests.commands.conftest import FILL
from tests.executors import work
from tests.segment.programs import PATIENCE, ROOT, go_on, run, running, said

from .server import Server

KEY = "a key that is long enough"
PASSWORD, QUOTED = "s3cr3t/w@rd:#1", "s3cr3t%2Fw%40rd%3A%231"

#: Somebody who is in the middle of an item, and then does it.
HOLD = """
import sys
from pqadapters.stdlib.queue import Queue
q = Queue(store=sys.argv[1] + "?prefetch=1")
q.put_many("abc")
assert q.get() == "a"
print("holds", flush=True)
sys.stdin.readline()
assert q.qsize() == int(sys.argv[2]), q.qsize()
q.task_done()
print("has done it", flush=True)
"""


@pytest.fixture(autouse=True)
def _signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the programs that put; the commands need none."""
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)


@pytest.fixture
def place(url: str) -> str:
    """With records in each state, from a process that ended well."""
    run(FILL, url)
    return url


@pytest.fixture
def user(server: Server, url: str) -> Iterator[str]:
    """The URL of a user with a password who may do no more than look."""
    name = f"looker_{url.rpartition('_')[2]}"
    database = url.rpartition("/")[2]
    server.run(
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT ON {database}.* TO {name}@'127.0.0.1'",
    )
    yield url.replace("root@", f"{name}:{QUOTED}@")
    server.run(f"DROP USER {name}@'127.0.0.1'")


def _database(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _counts(url: str, queue: str = "default") -> list[int]:
    found = loaded("stats", url)["queues"][queue]
    return [found[name] for name in ("ready", "delayed", "claimed", "dead")]


def _rows(server: Server, url: str) -> dict[str, Any]:
    """All that is in the database."""
    database = _database(url)
    tables = [name for (name,) in server.run(f"SHOW TABLES IN {database}")]
    return {name: sorted(map(repr, server.run(f"SELECT * FROM {database}.{name}"))) for name in tables}


def test_stats(place: str) -> None:
    found = loaded("stats", place)
    assert (found["place"], found["kind"], found["format"]) == (place, "MySQL store", schema.VERSION)
    assert found["held_by"] == found["hosts"] == found["damage"] == []
    default = found["queues"]["default"]
    assert [default[name] for name in ("ready", "delayed", "claimed", "dead")] == [3, 1, 0, 1]
    assert 0 <= default["oldest_age"] < PATIENCE
    assert default["bytes"] > 0
    assert set(found["queues"]) == {"default", "other"}
    assert found["tables"] == {"dict/settings": 1}
    lines = out("stats", place).splitlines()
    assert lines[0] == f"{place}: a MySQL store, format 1, held by nobody"
    assert any(line.split()[:5] == ["default", "3", "1", "0", "1"] for line in lines)


def test_peek_and_dead_need_no_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is signed was shown as bytes."""
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    rows = loaded("peek", place)
    assert [row["payload"] for row in rows] == ["'one'", "'four'", "'five'"]
    assert {row["format"] for row in rows} == {"pickle"}
    assert all(0 <= row["age"] < PATIENCE for row in rows)
    assert [row["payload"] for row in loaded("peek", place, "--state", "delayed")] == ["{'two': 2}"]
    (letter,) = loaded("dead", place)
    assert (letter["queue"], letter["payload"], letter["reason"]) == ("default", "'three'", "it is broken")
    assert "it is broken" in out("peek", place, "--state", "dead", "--unpickle")
    assert out("dead", place, "--queue", "other") == "no dead letters\n"


def test_a_text_that_begins_as_what_is_signed_does_is_shown_whole(url: str) -> None:
    text = b"Have a look at this number please: 12345"
    with open_store(url) as store:
        store.commit(Put("q", text))
    assert loaded("peek", url)[0]["payload"] == repr(text)


@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_looking_changes_nothing_and_takes_no_more_than_select(
    server: Server, place: str, user: str, look: tuple[str, ...]
) -> None:
    before = _rows(server, place)
    command, *more = look
    assert out(command, user, *more)
    assert _rows(server, place) == before


def test_a_look_is_of_one_moment(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))

        def look(sight: Any) -> list[Any]:
            before = sight.depth("q").ready
            store.commit(Put("q", b"b"), Put("new", b"c"))
            payloads = [each.payload for each in sight.browse("q", state=None)]
            return [before, sight.depth("q").ready, sight.queues(), payloads]

        assert look_at_server(url, look) == [1, 1, ["q"], [b"a"]]
        assert look_at_server(url, lambda sight: sight.depth("q").ready) == 2


def test_who_holds_it_is_named_with_the_host(url: str) -> None:
    with running(HOLD, url, 2) as child:
        assert said(child) == "holds"
        found = loaded("stats", url)
        assert (found["held_by"], found["hosts"]) == ([child.pid], [platform.node()])
        assert f"held by process {child.pid} on {platform.node()}" in out("stats", url)
        assert _counts(url) == [2, 0, 1, 0]
        child.kill()
        child.wait(PATIENCE)
        with MysqlStore(url) as store:  # so that the server has heard of the end
            assert store.wait("default", lambda depth: depth.ready == 3, PATIENCE)
    assert loaded("stats", url)["held_by"] == []


def test_times_are_by_the_clock_of_who_looks(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's clock goes as it likes: an age was off by the difference."""
    with Queue[Any](store=url) as q:
        q.put("a")
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: time.time() + 3600))
    row = loaded("peek", url)[0]
    assert 3500 < row["put_at"] - time.time() < 3700


def test_purge_and_requeue_without_a_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    (letter,) = loaded("dead", place)
    assert f"no dead letter {letter['id'] + 1000}" in refusal("dead", place, "--requeue", letter["id"] + 1000)
    assert out("dead", place, "--requeue", letter["id"]) == "1 put back\n"
    assert _counts(place) == [4, 1, 0, 0]
    assert "say --yes" in refusal("purge", place)
    assert out("purge", place, "--yes") == "4 removed\n"
    assert out("purge", place, "--yes") == "nothing to remove\n"
    assert _counts(place) == [0, 1, 0, 0]
    assert _counts(place, "other") == [1, 0, 0, 0]
    assert loaded("stats", place)["held_by"] == []


def test_a_letter_that_was_put_back_has_its_signature(url: str) -> None:
    with Queue[Any](store=url, ack="task_done") as q:
        q.put("a")
        for claim in q._line.store.claim("default"):
            q._line.store.commit(Nack(claim, dead="no"))
        assert out("dead", url, "--requeue", "all") == "1 put back\n"
        assert q.get(timeout=PATIENCE) == "a"


def test_what_a_process_has_claimed_stays(url: str) -> None:
    with running(HOLD, url, 0) as child:
        assert said(child) == "holds"
        assert out("purge", url, "--yes") == "2 removed\n"
        go_on(child)
        assert said(child) == "has done it"


def test_jobs_of_an_executor_are_known_in_spite_of_their_signature(url: str) -> None:
    """Their keys would have stayed, and who submitted with one got a future that never came to an end."""
    with ThreadPoolExecutor(1, store=url, name="jobs") as executor:
        executor.submit(work.hold, "on a server")
        work.reached("on a server")
        future = executor.using(key="k").submit(work.note, 1)
        without = process("purge", url, "--yes", PQADAPTERS_SIGNING_KEY="")
        assert (without.returncode, without.stderr.count("\n")) == (1, 1)
        assert "PQADAPTERS_SIGNING_KEY" in without.stderr
        ended = process("purge", url, "--yes")
        assert ended.stdout == "1 removed\n", ended.stderr
        with pytest.raises(CancelledError):
            future.result(PATIENCE)
        again = executor.using(key="k").submit(work.note, 2)
        work.GATES["on a server"].set()
        assert again.result(PATIENCE) == 2


def test_a_prefix_is_a_store_of_its_own(url: str) -> None:
    with Queue[Any](store=f"{url}?prefix=one_") as q:
        q.put("a")
    assert loaded("stats", f"{url}?prefix=two_&prefix=one_&lease=20")["place"] == f"{url}?prefix=one_"
    assert "has no store" in refusal("stats", url)
    assert "is no option" in refusal("stats", f"{url}?prefx=one_")
    assert "prefix is" in refusal("stats", f"{url}?prefix=o-e")


@pytest.mark.parametrize("command", ["stats", "peek", "dead", "purge"])
def test_where_there_is_no_store_none_is_made(server: Server, url: str, command: str) -> None:
    more = ["--requeue", "all"] if command == "dead" else ["--yes"] if command == "purge" else []
    assert f"{url} has no store" in refusal(command, url, *more)
    assert server.run(f"SHOW TABLES IN {_database(url)}") == ()


def test_tables_that_are_only_being_made_are_no_store(server: Server, url: str) -> None:
    MysqlStore(url).close()
    server.run("DELETE FROM pqa_meta", database=_database(url))
    assert "has no store" in refusal("stats", url)
    server.run("INSERT INTO pqa_meta VALUES ('version', 99)", database=_database(url))
    assert "version 99" in refusal("stats", url)


@pytest.mark.parametrize("command", ["stats", "peek", "dead", "purge"])
def test_what_cant_be_reached_is_one_line_without_the_password(
    server: Server, user: str, command: str
) -> None:
    wrong = {
        user.replace(QUOTED, "wr%40ng"): "password",
        f"mysql://me:{QUOTED}@no.such.host.invalid/jobs": "can't be reached",
        f"mysql://me:{QUOTED}@127.0.0.1:1/jobs": "can't be reached",
        server.url("nowhere"): "nowhere",
        f"mysql://me:{QUOTED}@host": "write mysql://",
        f"mysql://me:{PASSWORD}@host/jobs": "%23",
        f"mysql:me:{QUOTED}@host/jobs": "write mysql://",
        f"mysql://me:{QUOTED}@host/jobs?password={PASSWORD}": "%23",
        f"mysql://me:{QUOTED}@host/jobs?tls=maybe": "tls is one of",
    }
    for url, word in wrong.items():
        done = refusal(command, url)
        assert word in done
        assert done.count("\n") == 1
        assert not any(secret in done for secret in (PASSWORD, QUOTED, "wr%40ng", "wr@ng", "s3cr3t"))


def test_a_password_is_in_nothing_that_is_shown(server: Server, place: str, user: str, tmp_path: Path) -> None:
    name = user.partition("://")[2].partition(":")[0]
    server.run(f"GRANT INSERT, UPDATE, DELETE ON {_database(place)}.* TO {name}@'127.0.0.1'")
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    bare = place.replace("root@", f"{name}@")
    for url in (user, f"{bare}?password_file={file}"):
        results = [
            call(*words)
            for words in (
                ("stats", url, "--json"),
                ("stats", url, "--queue", "no"),
                ("peek", url, "--queue", "no"),
                ("dead", url, "--requeue", "123456789"),
                ("purge", url),
                ("stats", url),
            )
        ]
        assert [result.exit_code for result in results] == [0, 1, 1, 1, 1, 0]
        assert all("s3cr3t" not in result.output + repr(result.exception) for result in results)
        assert bare in results[0].output


def test_as_a_process(place: str) -> None:
    done = process("stats", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "MySQL store" in done.stdout
    missing = process("stats", "mysql://me:s3cr3t@127.0.0.1:1/jobs")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.count("\n") == 1
    assert "s3cr3t" not in missing.stderr


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "pymysql.py").write_text("raise ImportError")
    done = process("stats", "mysql://me:s3cr3t@127.0.0.1:1/jobs", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: the MySQL store needs PyMySQL and DBUtils: pip install 'pqadapters[mysql]'\n"


def test_what_mappings_keep_is_no_queue(url: str) -> None:
    with PDict[str, int](url) as d:
        d.set("b", 1, expire=1000)
        with d.edit("a", 0):
            d["a"] = 1
    found = loaded("stats", url)
    assert (found["queues"], found["tables"]) == ({}, {"dict/default": 2})
    assert "has no queue" in refusal("purge", url)
