"""Programs with executors, as applications of their own, that are killed when they have said what a test waits for."""

from __future__ import annotations

from pathlib import Path

from tests.processes.harness import Running

HEAD = """
import os, signal, sys, threading, time
from pqadapters.concurrent.futures import (
    JobParked, ProcessPoolExecutor, ThreadPoolExecutor, UnknownJob, as_completed, task, wait
)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def hear():
    return sys.stdin.readline().strip()

def double(number):
    say("ran", number)
    return 2 * number

def hold(number):
    say("holds", number)
    time.sleep(600)

def die(number):
    while not os.path.exists(sys.argv[0] + ".go"):
        time.sleep(0.01)
    say("dies", number)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class App:
    """A script and its home."""

    def __init__(self, directory: Path, body: str) -> None:
        self.script, self.home, self.directory = directory / "app.py", directory / "home", directory
        self.script.write_text(HEAD + body)

    def start(self, *arguments: str) -> Running:
        return Running(self.script, self.home, *arguments)
