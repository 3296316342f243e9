# Lines as somebody types them at a prompt, or behind -c.
from queue import Queue

q: Queue[int] = Queue()
for i in range(3):
    q.put(i)

other: Queue[int] = Queue()
other.put(q.get() + 40)
import os  # noqa: E402 -- as it comes to mind

written = os.write(1, f"{os.getpid()} begin {other.get()}\n".encode())
