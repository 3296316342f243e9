"""Programs that log, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .sinks import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import logging, os, sys, threading
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink

place = sys.argv[1]

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Down(logging.Handler):
    def emit(self, record):
        raise ConnectionRefusedError

class Telling(logging.Handler):
    def emit(self, record):
        say("got", record.getMessage())

logger = logging.Logger("app", logging.DEBUG)
"""


@contextmanager
def running(body: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + body, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    watchdog = threading.Timer(PATIENCE * 2, process.kill)
    watchdog.daemon = True
    watchdog.start()
    with process:
        try:
            yield process
        finally:
            process.kill()
            watchdog.cancel()


def ran(body: str, *arguments: object) -> list[str]:
    with running(body, *arguments) as process:
        said, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        return said.splitlines()
