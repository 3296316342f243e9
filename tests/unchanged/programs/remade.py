"""A queue that is thrown away with what is in it, and made anew: the usual way to clear one.

With "del" the old one goes before the new one is made; else the new one takes its name.
"""

from __future__ import annotations

import queue
import sys

from tests.unchanged.progress import report

q: queue.Queue[int]


def clear() -> None:
    global q
    if "del" in sys.argv and "q" in globals():
        del q
    q = queue.Queue()


first, count = map(int, sys.argv[1:3])
clear()
for item in range(first, first + count):
    q.put(item)
report("in it", q.qsize())
report("begin", q.get())
clear()
report("left", q.qsize())
q.put(first + count)
report("after clear", q.get())
report("finished")
