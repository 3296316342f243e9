"""A signal at any moment leaves no process behind, and nobody waits long for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.contenders import OURS, contenders
from bench.measurement import ROOT, end_all, ended, environment
from bench.rounds import Settings

BEGINS = """
import signal, subprocess, sys
from bench import interruption
from bench.measurement import ended

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)
        signal.raise_signal(signal.SIGTERM)

subprocess.Popen = Popen
interruption.install()
ended([sys.executable, "-c", "import time; time.sleep(600)"], cwd=".", patience=600)
"""


def test_a_signal_while_a_process_is_being_started_ends_that_process() -> None:
    """It was raised within Popen, and the process went on for as long as its measurement took."""
    done = subprocess.run(
        [sys.executable, "-c", BEGINS], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_an_interruption_ends_whom_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for as long as a contender that hangs may take."""
    begun = threading.Event()

    def observe(*arguments: object) -> dict[str, object]:
        begun.set()
        return {
            "status": ended([sys.executable, "-c", "import time; time.sleep(600)"], cwd=".", patience=600).returncode
        }

    def interrupted(*arguments: object, **options: object) -> None:
        begun.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "observe", observe)
    monkeypatch.setattr(command, "zip", interrupted, raising=False)
    settings = Settings(tmp_path, rounds=1, seconds=1, budget=1, patience=600, observing=600)
    late = threading.Timer(120, end_all)
    late.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            command._observe({OURS: contenders()[OURS]}, {}, settings)
        assert late.is_alive()
    finally:
        late.cancel()
