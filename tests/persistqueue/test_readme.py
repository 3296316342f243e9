"""Every example of persist-queue's readme, in a console of its own, prints what the readme prints.

Mended in them: `persisitqueue`, `from persistqueue` without what it imports, `auto_save` for `autosave`; `Queue()`
without the path that it needs; a put of the database queues prints the id that it returns, which the readme leaves out;
of `ack`, `nack` and `ack_failed`, which stand there for one item, each has one of its own; `get()` of 'b' with msgpack
has the put that it needs; a timestamp is any number. MySQL's is in test_mysql_queue.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_CONSOLE = """
import doctest, sys
text = sys.stdin.read()
test = doctest.DocTestParser().get_doctest(text, {}, "readme", None, 0)
assert test.examples
sys.exit(doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed)
"""
_THREADS = """
>>> from threading import Thread
>>> num_worker_threads, worked = 3, []
>>> do_work, source = worked.append, lambda: range(20)
"""

EXAMPLES = {
    "a SQLite queue": (
        """
>>> import pqadapters.persistqueue as persistqueue
>>> q = persistqueue.SQLiteQueue('mypath', auto_commit=True)
>>> q.put('str1')
1
>>> q.put('str2')
2
>>> q.put('str3')
3
>>> q.get()
'str1'
>>> del q
""",
        """
>>> import pqadapters.persistqueue as persistqueue
>>> q = persistqueue.SQLiteQueue('mypath', auto_commit=True)
>>> q.get()
'str2'
""",
    ),
    "a unique queue": (
        """
>>> import pqadapters.persistqueue as persistqueue
>>> q = persistqueue.UniqueQ('mypath')
>>> q.put('str1')
1
>>> q.put('str1')
>>> q.size
1
>>> q.put('str2')
2
>>> q.size
2
""",
    ),
    "acknowledging": (
        """
>>> import pqadapters.persistqueue as persistqueue
>>> ackq = persistqueue.SQLiteAckQueue('path')
>>> for item in ('str1', 'str2', 'str3'): _ = ackq.put(item)
>>> item = ackq.get()
>>> ackq.ack(item)
1
>>> item = ackq.get()
>>> ackq.nack(item)
2
>>> item = ackq.get()
>>> item
'str2'
>>> ackq.ack_failed(item)
2
>>> ackq.get()
'str3'
""",
    ),
    "raw": (
        """
>>> import pqadapters.persistqueue as persistqueue
>>> q = persistqueue.SQLiteAckQueue('path')
>>> q.put('val1')
1
>>> d = q.get(raw=True)
>>> print(d)
{'pqid': 1, 'data': 'val1', 'timestamp': ...}
>>> q.ack(d)
1
""",
    ),
    "next_in_order": (
        """
>>> import pqadapters.persistqueue as persistqueue
>>> q = persistqueue.SQLiteAckQueue('path')
>>> q.put("val1")
1
>>> q.put("val2")
2
>>> q.put("val3")
3
>>> item = q.get()
>>> id = q.nack(item)
>>> item = q.get(id=id, next_in_order=True)
>>> print(item)
val2
""",
    ),
    "a file queue": (
        """
>>> from pqadapters.persistqueue import Queue
>>> q = Queue("mypath")
>>> q.put('a')
>>> q.put('b')
>>> q.put('c')
>>> q.get()
'a'
>>> q.task_done()
""",
        """
>>> from pqadapters.persistqueue import Queue
>>> q = Queue('mypath')
>>> q.get()
'b'
>>> q.task_done()
""",
    ),
    "a file queue without task_done": (
        """
>>> from pqadapters.persistqueue import Queue
>>> q = Queue("mypath")
>>> q.put('a')
>>> q.put('b')
>>> q.get()
'a'
>>> q.get()
'b'
""",
        """
>>> from pqadapters.persistqueue import Queue
>>> q = Queue('mypath')
>>> q.get()
'a'
>>> q.get()
'b'
""",
    ),
    "autosave": (
        """
>>> from pqadapters.persistqueue import Queue
>>> q = Queue("mypath", autosave=True)
>>> q.put('a')
>>> q.put('b')
>>> q.get()
'a'
""",
        """
>>> from pqadapters.persistqueue import Queue
>>> q = Queue('mypath', autosave=True)
>>> q.get()
'b'
""",
    ),
    "a PDict": (
        """
>>> from pqadapters.persistqueue import PDict
>>> q = PDict("testpath", "testname")
>>> q['key1'] = 123
>>> q['key2'] = 321
>>> q['key1']
123
>>> len(q)
2
>>> del q['key1']
>>> q['key1']
Traceback (most recent call last):
  File "<stdin>", line 1, in <module>
KeyError: 'Key: key1 not exists.'
""",
        """
>>> from pqadapters.persistqueue import PDict
>>> q = PDict("testpath", "testname")
>>> q['key2']
321
""",
    ),
    "threads and a SQLite queue": (
        f"""
>>> from pqadapters.persistqueue import FIFOSQLiteQueue
>>> q = FIFOSQLiteQueue(path="./test", multithreading=True)
{_THREADS.strip()}
>>> def worker():
...     while True:
...         item = q.get()
...         do_work(item)
>>> for i in range(num_worker_threads):
...     t = Thread(target=worker)
...     t.daemon = True
...     t.start()
>>> for item in source():
...     _ = q.put(item)
>>> import time
>>> while len(worked) < 20: time.sleep(0.01)
>>> sorted(worked) == list(source())
True
""",
    ),
    "threads and a file queue": (
        f"""
>>> from pqadapters.persistqueue import Queue
>>> q = Queue("mypath")
{_THREADS.strip()}
>>> def worker():
...     while True:
...         item = q.get()
...         do_work(item)
...         q.task_done()
>>> for i in range(num_worker_threads):
...     t = Thread(target=worker)
...     t.daemon = True
...     t.start()
>>> for item in source():
...     q.put(item)
>>> q.join()       # block until all tasks are done
>>> sorted(worked) == list(source())
True
""",
    ),
    "serializers": (
        """
>>> import pqadapters.persistqueue as persistqueue
>>> q = persistqueue.Queue('mypath', serializer=persistqueue.serializers.msgpack)
>>> r = persistqueue.Queue('mypath2', serializer=persistqueue.serializers.cbor2)
>>> s = persistqueue.Queue('mypath3', serializer=persistqueue.serializers.json)
>>> q.put('b')
>>> q.get()
'b'
>>> q.task_done()
""",
    ),
    "explicit reclamation": (
        """
>>> import os, pqadapters.persistqueue as persistqueue
>>> files = lambda: [os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')]
>>> ours = lambda: [file for file in files() if 'mypath' in file]
>>> q = persistqueue.Queue('mypath')
>>> len(ours()) > 0
True
>>> del q
>>> ours()
[]
""",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_the_readme_prints(name: str, tmp_path: Path) -> None:
    for session in EXAMPLES[name]:
        done = subprocess.run(
            [sys.executable, "-c", _CONSOLE],
            input=session,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
