"""Modules inside of packages: the table takes one by one line, and the packages around it have stand-ins, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from .programs import Place

#: Runs with two more lines in the table: a class of ours, under a name that these modules don't have.
STARTER = """
    import sys
    from pqadapters.running import swaps
    from pqadapters.running.command import run
    ours = swaps.Swap("pqadapters.stdlib.queue", ("PriorityQueue",))
    swaps.SWAPS = {**swaps.SWAPS, "concurrent.futures": ours, "logging.handlers": ours, "xml.dom.minidom": ours}
    run(sys.argv[1:])
"""
FORMS = {
    "import concurrent.futures": "concurrent.futures.PriorityQueue",
    "import concurrent.futures as f": "f.PriorityQueue",
    "from concurrent import futures": "futures.PriorityQueue",
    "from concurrent import futures as f": "f.PriorityQueue",
    "from concurrent.futures import PriorityQueue, ThreadPoolExecutor": "PriorityQueue",
    "import concurrent\nimport concurrent.futures": "concurrent.futures.PriorityQueue",
    "import concurrent.futures.thread": "concurrent.futures.PriorityQueue",
    "from concurrent.futures import thread; import concurrent.futures": "concurrent.futures.PriorityQueue",
    "import importlib": "importlib.import_module('concurrent.futures').PriorityQueue",
    "x = __import__('concurrent.futures')": "x.futures.PriorityQueue",
    "import logging; from concurrent.futures import Future; import logging.config": "logging.handlers.PriorityQueue",
    "import logging.handlers, logging as log": "log.handlers.PriorityQueue",
    "import xml.dom.minidom": "xml.dom.minidom.PriorityQueue",
    "from xml.dom import minidom": "minidom.PriorityQueue",
    "from xml import dom\nimport xml.dom.minidom": "dom.minidom.PriorityQueue",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, tmp_path: Path) -> None:
    place = Place(tmp_path, {"app.py": f"{form}\nprint(({FORMS[form]}).__module__)\n", "start/run.py": STARTER})
    assert place.well("start/run.py", "app.py", run=None) == ["pqadapters.stdlib.queue"]


#: A class is ours in the module that defines it, too: there subclasses of `multiprocessing.queues.Queue` find it.
INNER = {
    "from multiprocessing.queues import Queue": "Queue",
    "import multiprocessing.queues as mq": "mq.JoinableQueue",
    "import multiprocessing.queues": "multiprocessing.queues.SimpleQueue",
    "import multiprocessing": "multiprocessing.queues.Queue",
    "from multiprocessing import queues, Queue": "queues.Queue",
    "from concurrent.futures.thread import ThreadPoolExecutor": "ThreadPoolExecutor",
    "import concurrent.futures.thread": "concurrent.futures.thread.ThreadPoolExecutor",
    "from concurrent.futures import process": "process.ProcessPoolExecutor",
    "import concurrent.futures.process as p": "p.ProcessPoolExecutor",
}


@pytest.mark.parametrize("form", INNER)
def test_modules_that_define_the_classes(form: str, tmp_path: Path) -> None:
    """Once these were the standard library's where the package's were ours, and nothing that said so."""
    text = f"{form}\nprint(({INNER[form]}).__module__)\n"
    place = Place(tmp_path, {"app.py": text + "import module\n", "module.py": text})
    main, module = place.well("app.py")
    assert main.startswith("pqadapters.")
    assert module == main


def test_what_isnt_there_isnt_there(tmp_path: Path) -> None:
    """A package doesn't have its modules before somebody imports them; and says so as it does."""
    program = """
        import logging, xml.dom
        print(hasattr(xml.dom, "minidom"), "minidom" in dir(xml.dom), logging.getLogger("x").name, logging.nothing)
    """
    place = Place(tmp_path, {"app.py": program, "start/run.py": STARTER})
    ours, plain = place.start("start/run.py", "app.py", run=None), place.start("app.py", run=None)
    assert ours == plain
    assert ours.errors.endswith("AttributeError: module 'logging' has no attribute 'nothing'\n")


def test_each_may_be_chosen(tmp_path: Path) -> None:
    program = "import concurrent.futures, queue\nprint(queue.Queue.__module__, concurrent.futures.PriorityQueue)\n"
    place = Place(tmp_path, {"app.py": program, "start/run.py": STARTER})
    chosen = place.well("start/run.py", "--only", "concurrent.futures", "app.py", run=None)
    assert chosen == ["queue <class 'pqadapters.stdlib.queue.PriorityQueue'>"]
