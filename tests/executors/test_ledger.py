"""Processes are killed at random moments while their jobs append to a ledger: every job that submit returned for has
had its effect at least once at the end, and every result under a key reads back equal."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .harness import App

PROGRAM = """
import json, random

def append(path, what):
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, (what + "\\n").encode())
    os.close(ledger)

def effect(number):
    append(sys.argv[0] + ".ledger", str(number))

def value(number):
    append(sys.argv[0] + ".ledger", f"k{number}")
    return {"number": number, "text": "x" * (number % 7)}

if __name__ == "__main__":
    kind = {"thread": ThreadPoolExecutor, "process": ProcessPoolExecutor}[sys.argv[1]]
    executor = kind(3, max_attempts=1000, **json.loads(sys.argv[2]))
    first, count = int(sys.argv[3]), int(sys.argv[4])
    for number in range(first, first + count):
        if number % 3:
            executor.submit(effect, number)
            append(sys.argv[0] + ".submitted", str(number))
        else:
            executor.using(key=number).submit(value, number)
            append(sys.argv[0] + ".submitted", f"k{number}")
    executor.shutdown()
    if not count:
        with kind(1, **json.loads(sys.argv[2])) as executor:
            for number in range(0, first, 3):
                try:
                    say(f"k{number}", json.dumps(executor.future(key=number).result(0)))
                except UnknownJob:
                    pass
    say("end")
"""


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def check(directory: Path, kind: str, options: dict[str, Any], delays: list[float]) -> None:
    directory.mkdir(parents=True)
    app = App(directory, PROGRAM)
    place = {name: value.replace("DIR", str(directory)) for name, value in options.items()}
    for run, delay in enumerate(delays):
        with app.start(kind, json.dumps(place), str(run * 60), "60") as running:
            try:
                running.process.wait(delay)
            except Exception:  # it didn't end by itself
                running.kill_all()
    with app.start(kind, json.dumps(place), str(len(delays) * 60), "0") as running:
        running.end()
    submitted, ledger = lines(directory / "app.py.submitted"), lines(directory / "app.py.ledger")
    assert set(submitted) <= set(ledger)
    kept = {text.partition(" ")[0]: json.loads(text.partition(" ")[2]) for text in running.said if text[0] == "k"}
    for word in submitted:
        if word.startswith("k"):
            number = int(word[1:])
            assert kept[word] == {"number": number, "text": "x" * (number % 7)}
    keyed = [word for word in ledger if word.startswith("k")]
    assert len(keyed) - len(set(keyed)) <= 3 * len(delays), "what was in hand at most comes again"


PLACES: dict[str, dict[str, Any]] = {
    "home": {},
    "path": {"path": "DIR/jobs", "durability": "process"},
    "database": {"store": "sqlite:///DIR/jobs.db?durability=process"},
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_killed_at_random_moments(kind: str, where: str, tmp_path: Path) -> None:
    chance = random.Random(f"{kind} {where}")
    check(tmp_path / "run", kind, PLACES[where], [0.1 + chance.random() * 0.5 for _ in range(4)])


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delays=st.lists(st.floats(0.05, 0.8), min_size=1, max_size=3), where=st.sampled_from(sorted(PLACES)))
def test_killed_whenever(tmp_path: Path, delays: list[float], where: str) -> None:
    directory = tmp_path / str(len(list(tmp_path.iterdir())))
    check(directory, "thread", PLACES[where], delays)
