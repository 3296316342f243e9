"""Runs CPython's own tests of QueueHandler, QueueListener or dictConfig with our classes, in a process of its own: they
want a root logger without pytest's handlers, and name the classes while they are imported.

    python -m tests.logging.bound QueueHandlerTest
    python -m tests.logging.bound QueueListenerTest ours      with our queues, too
"""

from __future__ import annotations

import logging.handlers
import sys
import unittest

from pqadapters.logging import handlers as durable
from pqadapters.stdlib import multiprocessing, queue

#: On our queues; they must fail. A listener without handlers leaves the records where they are: nobody was given them.
DEVIATION = "test_no_messages_in_queue_after_stop"


def main(name: str, queues: str = "") -> int:
    for swapped in ("QueueHandler", "QueueListener"):
        setattr(logging.handlers, swapped, getattr(durable, swapped))
    from test import test_logging as theirs

    if queues:
        vars(theirs).update(queue=queue, multiprocessing=multiprocessing)
        unittest.expectedFailure(getattr(getattr(theirs, name), DEVIATION))
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(theirs, name))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    sys.stdout.write(f"{result.testsRun} run\n")
    return 0 if result.wasSuccessful() and not result.unexpectedSuccesses else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
