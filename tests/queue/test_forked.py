"""Queues in a forked child: an unnamed one goes on empty, on its own; one on a path says why it can't."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .programs import run, run_script

KILLED = -signal.SIGKILL

HEAD = """
def forked():
    "True in the child; in the parent, False when the child has ended well."
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == STATUS, status
    return pid == 0
STATUS = 0
"""
LOOK = "q = Queue(); print(q.stats()['learnt'], list(q.queue)); crash()"
#: How a child ends: it falls off its end, unless it does something else first.
ENDS = ["pass", "sys.exit(0)", "os._exit(0)", "q.close()", "del q"]


def pairs(kinds: list[str], ends: list[str]) -> list[tuple[str, str]]:
    """Each kind with one end, and each end with one kind."""
    return [(kind, ends[0]) for kind in kinds[1:]] + [(kinds[-1], "os._exit(0)")] + [(kinds[0], end) for end in ends]


@pytest.mark.parametrize(("kind", "end"), pairs(["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"], ENDS))
def test_an_unnamed_queue_is_empty_in_the_child_and_its_own(tmp_path: Path, kind: str, end: str) -> None:
    program = f"""
    q = {kind}()
    for i in range(4): q.put(i)
    held = q.get()
    place = q.stats()["place"]
    if forked():
        stats = q.stats()
        assert (q.qsize(), q.empty(), stats["unfinished"], stats["held"]) == (0, True, 0, 0), stats
        assert stats["place"] != place
        q.put("mine")
        assert q.get(timeout=0) == "mine"
        if hasattr(q, "join"):
            q.task_done()
            q.join()
        {end}
    else:
        stats = q.stats()
        assert (stats["ready"], stats["claimed"], stats["held"], stats["place"]) == (3, 1, 1, place), stats
        assert q.get() is not None
        crash()
    """
    done = run(HEAD + _dedent(program), tmp_path, status=KILLED)
    assert done.err == ""
    left = [1, 2, 3] if kind == "SimpleQueue" else [0, 1, 2, 3]
    mine = ["mine"] if kind == "SimpleQueue" and "_exit" in end else []  # nothing ended it
    assert run("q = Queue(); print(list(q.queue)); crash()", tmp_path, status=KILLED).out == str(left + mine)


def _dedent(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


def test_nothing_is_imported_at_the_first_use(tmp_path: Path) -> None:
    """A fork in the middle of another thread's import would leave the module locked in the child, for ever."""
    program = """
q = Queue()
made = set(sys.modules)
q.put(1)
q.get()
print(sorted(name for name in set(sys.modules) - made if name.startswith("pqadapters")))
    """
    assert run(program, tmp_path).out == "[]"


def test_what_a_child_puts_is_found_by_the_next_run(tmp_path: Path) -> None:
    program = """
q = Queue()
q.put("parent's")
if forked():
    q.put("child's")
    os._exit(0)
    """
    run(HEAD + program, tmp_path)
    assert run("q = Queue(); print(sorted(q.queue))", tmp_path).out == '["child\'s", "parent\'s"]'


def test_a_childs_normal_exit_settles_for_itself_alone(tmp_path: Path) -> None:
    program = """
q = Queue()
q.put_many([1, 2])
q.get()
if forked():
    q.put_many([3, 4])
    q.get()
    sys.exit()
crash()
    """
    run(HEAD + program, tmp_path, status=KILLED)
    assert run("q = Queue(); print(sorted(q.queue)); crash()", tmp_path, status=KILLED).out == "[1, 2, 4]"


def test_an_uncaught_exception_in_the_child_is_redelivered_there(tmp_path: Path) -> None:
    program = """
q = Queue()
q.put(1)
q.get()
STATUS = 1
if forked():
    q.put(2)
    q.get()
    raise LookupError
    """
    done = run(HEAD + program, tmp_path)
    assert done.err.count("Traceback") == 1
    assert run(LOOK, tmp_path, status=KILLED).out == "next [2]"


def test_what_the_parent_has_learnt_holds_in_the_child(tmp_path: Path) -> None:
    program = """
q = Queue()
q.put(1)
q.get()
q.task_done()
if forked():
    q.put(2)
    q.get()
    assert q.stats()["learnt"] == "task_done"
    sys.exit()
    """
    run(HEAD + program, tmp_path)
    assert run(LOOK, tmp_path, status=KILLED).out == "task_done [2]"


def test_locks_that_other_threads_held_are_free_in_the_child(tmp_path: Path) -> None:
    program = """
q = Queue()
holds, waits, go_on = threading.Event(), threading.Event(), threading.Event()
def wait(condition):
    with condition:
        waits.set()
        condition.wait()
def hold():
    with q.mutex:
        holds.set()
        go_on.wait()
waiters = [threading.Thread(target=wait, args=(each,)) for each in (q.not_empty, q.not_full, q.all_tasks_done)]
for each in waiters:
    each.start()
    waits.wait()
    with q.mutex: waits.clear()  # it waits now
q.qsize()
gets = threading.Thread(target=q.get)
gets.start()
holder = threading.Thread(target=hold)
holder.start()
holds.wait()
if forked():
    with q.mutex:
        q.not_empty.notify_all()
        assert not q.not_empty.wait(0)
    assert (q.not_empty.waiting, q.not_full.waiting, q.all_tasks_done.waiting) == (0, 0, 0)
    q.put(1)
    worker = threading.Thread(target=lambda: (q.get(), q.task_done()))
    worker.start()
    q.join()
    worker.join()
    os._exit(0)
go_on.set()
holder.join()
q.put(2)
gets.join()
q.task_done(2)
with q.mutex: q.not_full.notify_all()
for each in waiters: each.join()
q.join()
    """
    assert run(HEAD + program, tmp_path).err == ""


def test_a_childs_markers_are_found_by_the_next_run(tmp_path: Path) -> None:
    program = """
q = Queue()
q.put(None)
q.get()
q.task_done()
STATUS = -signal.SIGKILL
if forked():
    q.put_many([None, 1, object()])
    assert q.get() is None
    crash()
    """
    run(HEAD + program, tmp_path)
    assert run("q = Queue(); print(q.qsize(), q.get(), q.stats()['dropped'])", tmp_path).out == "1 1 2"


def test_the_parents_objects_are_not_the_childs(tmp_path: Path) -> None:
    program = """
import gc
q = Queue()
q.put(object())
if forked():
    q.put(object())
    assert len(q._line.objects._own) == 1
    assert q.qsize() == 1
    q.get()
    os._exit(0)
assert q.qsize() == 1
q.get()
    """
    run(HEAD + program, tmp_path)


def test_a_put_in_another_thread_at_the_time_of_the_fork(tmp_path: Path) -> None:
    """The child's next thread may have that one's ident, and isn't in the middle of anything."""
    program = """
at_it, go_on = threading.Event(), threading.Event()
class Slow:
    def __reduce__(self):
        at_it.set()
        go_on.wait()
        return int, ()
q = SimpleQueue()
thread = threading.Thread(target=q.put, args=(Slow(),), daemon=True)
thread.start()
at_it.wait()
if forked():
    assert not q._putting
    os._exit(0)
go_on.set()
thread.join()
assert q.get() == 0
    """
    run(HEAD + program, tmp_path)


@pytest.mark.parametrize("end", ["sys.exit()", "pass"])
def test_a_lease_of_the_parents_is_not_the_childs_to_end(tmp_path: Path, end: str) -> None:
    """The child's records have numbers of their own, which may be those of the parent's."""
    program = f"""
q = Queue(ack="task_done")
q.put_many([1, 2])
parent = os.getpid()
STATUS = -signal.SIGKILL if "{end}" == "pass" else 0
with q.lease() as item:
    if forked():
        q.put_many([3, 4])
        assert q.get() == 3
        atexit.register(lambda: q.task_done(3))
        {end}
    else:
        assert q.stats()["claimed"] == 1
assert q.stats()["claimed"] == (os.getpid() != parent)
crash()
    """
    assert run("import atexit\n" + HEAD + program, tmp_path, status=KILLED).err == ""
    left = [2, 3, 4] if end == "pass" else [2, 4]
    assert run("q = Queue(); print(sorted(q.queue)); crash()", tmp_path, status=KILLED).out == str(left)


def test_a_child_of_multiprocessing(tmp_path: Path) -> None:
    program = """
import multiprocessing
q = Queue()
q.put_many([1, 2])
q.get()
def work():
    assert q.empty()
    q.put_many([3, 4])
    q.get()
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
assert child.exitcode == 0
assert q.stats()["held"] == 1
crash()
    """
    assert run(HEAD + program, tmp_path, status=KILLED).err == ""
    assert run("q = Queue(); print(sorted(q.queue)); crash()", tmp_path, status=KILLED).out == "[1, 2, 4]"


def test_a_child_of_a_child(tmp_path: Path) -> None:
    program = """
q = Queue()
q.put(1)
q.qsize()  # from now on it is left alone
if forked():
    q.put(2)
    q.qsize()
    if forked():
        assert q.empty()
        q.put(3)
        assert q.get() == 3
        sys.exit()
    assert list(q.queue) == [2]
    sys.exit()
assert list(q.queue) == [1]
    """
    assert run(HEAD + program, tmp_path).err == ""
    assert run("q = Queue(); print(sorted(q.queue))", tmp_path).out == "[1, 2]"


# Queues on a path

ON_PATH = """
from pqadapters.errors import StoreForked
here = os.environ["HERE"]
"""


@pytest.mark.parametrize(
    ("kind", "end"), pairs(["Queue", "PriorityQueue", "SimpleQueue", "next"], [*ENDS, "with q: pass"])
)
def test_a_path_is_the_parents(tmp_path: Path, kind: str, end: str) -> None:
    made = "Queue(path=here, ack='next')" if kind == "next" else f"{kind}(path=here)"
    program = f"""
q = {made}
for i in range(4): q.put(i)
q.get()
if forked():
    for call in (lambda: q.put(1), q.get, q.get_nowait, q.qsize, q.empty):
        try:
            call()
        except StoreForked as error:
            assert here in str(error) and "forked" in str(error), error
        else:
            raise AssertionError(call)
    {end}
else:
    assert q.qsize() == 3
    assert q.get() == 1
    q.put(4)
    crash()
    """
    done = run(HEAD + ON_PATH + program, tmp_path, status=KILLED, HERE=str(tmp_path / "q"))
    assert done.err == ""
    look = "q = Queue(path=os.environ['HERE']); print(list(q.queue))"
    left = [1, 2, 3, 4] if kind in ("SimpleQueue", "next") else [0, 1, 2, 3, 4]
    assert run(look, tmp_path, HERE=str(tmp_path / "q")).out == str(left)


def test_a_child_outlives_its_parent_and_the_path_is_free(tmp_path: Path) -> None:
    program = """
q = Queue(path=here)
q.put(1)
said, say = os.pipe()
if os.fork() == 0:
    os.close(1); os.close(2)
    os.setsid()
    os.close(say)
    os.read(said, 1)  # the parent has ended
    sys.exit()
os.close(said)
os.set_inheritable(say, True)
os.execv(sys.executable, [sys.executable, "-c", '''
from pqadapters.stdlib.queue import Queue
import sys
print(list(Queue(path=sys.argv[1]).queue))
''', here])
    """
    assert run(HEAD + ON_PATH + program, tmp_path, HERE=str(tmp_path / "q")).out == "[1]"


@pytest.mark.parametrize("where", ["q", "Queue()"], ids=["of the module", "of the function"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_that_fails_has_done_nothing(tmp_path: Path, method: str, where: str) -> None:
    """Its end is seen twice, and the second time it looks like a normal one; from 3.13 on the first time as well."""
    assert _left_by_a_child(tmp_path, method, where, "raise LookupError") == "[(3, None)]"


@pytest.mark.parametrize("where", ["q", "Queue()"], ids=["of the module", "of the function"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_that_exits_has_done_it(tmp_path: Path, method: str, where: str) -> None:
    """With a status of its own, too."""
    assert _left_by_a_child(tmp_path, method, where, "sys.exit(3)") == "[(2, 'next')]"


def _left_by_a_child(tmp_path: Path, method: str, where: str, end: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, os, sys\n"
        "from pqadapters.stdlib.queue import Queue, homes\n"
        "q = Queue()\n"
        "def work():\n"
        f"    mine = {where}\n"
        "    for n in range(3): mine.put(n)\n"
        "    mine.get()\n"
        "    sys.stderr = open(os.devnull, 'w')\n"
        f"    {end}\n"
        "if __name__ == '__main__':\n"
        f"    child = multiprocessing.get_context({method!r}).Process(target=work)\n"
        "    child.start()\n"
        "    child.join()\n"
        "    print([(home.items, home.ack) for home in homes()])\n"
    )
    return run_script(script, tmp_path / "home").out


@pytest.mark.parametrize("module", ["stores.segment.scan", "stores.segment.slots", "stores.sqlite.damage.pages"])
def test_another_thread_imports_a_store_at_the_time_of_the_fork(tmp_path: Path, module: str) -> None:
    """The child had that thread's lock on the module, and its first queue waited for it for ever."""
    kind = f"store='sqlite:///{tmp_path}/%d.db' % os.getpid()" if "sqlite" in module else ""
    program = f"""
import importlib.abc
begun, go_on = threading.Event(), threading.Event()
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pqadapters.{module}" and threading.current_thread() is maker:
            begun.set()
            go_on.wait(10)
maker = threading.Thread(target=lambda: Queue({kind}).put(1))
sys.meta_path.insert(0, Slow())
maker.start()
assert begun.wait(60)
threading.Timer(0.2, go_on.set).start()
if forked():
    signal.alarm(60)
    q = Queue({kind})
    q.put(2)
    assert q.get() == 2
    q.task_done()
    sys.exit()
go_on.set()
maker.join()
    """
    assert run(HEAD + program, tmp_path).err == ""
