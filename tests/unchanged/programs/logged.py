"""Logging through a queue, everything that anybody logs: also what the queue's own library says of itself."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from queue import Queue

from tests.unchanged.progress import report


class Reports(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "root":
            report("logged", record.getMessage())


lines: Queue[logging.LogRecord] = Queue(-1)
logging.getLogger().addHandler(logging.handlers.QueueHandler(lines))
logging.getLogger().setLevel(logging.DEBUG)
listener = logging.handlers.QueueListener(lines, Reports())
listener.start()
for number in range(int(sys.argv[1])):
    logging.info("%d", number)
listener.stop()
report("finished")
