"""The page "What happens to my queue": each of its examples is a whole program, and runs, and runs again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "what-happens-to-my-queue.md").read_text()
SECTIONS = re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
EXAMPLES = [
    (section.partition("\n")[0], example)
    for section in SECTIONS
    for example in re.findall(r"```python\n(.*?)```", section, re.DOTALL)
]
PATIENCE = 60

#: What the first run of an example prints; a set where the order of lines is open.
PRINTED = {
    "Where it lives": [],
    "Workers that call task_done()": [*(f"Working on {n}" for n in range(30)), "All work completed"],
    "Workers that never call task_done()": [str(n) for n in range(30)],
    "Stop markers": {str(n) for n in range(30)},
    "Batches": ["4950", "14950", "24950"],
    "get() in one thread, task_done() in another": {str(n) for n in range(30)},
    "A queue for each request": ["[2, 4]", "[6, 8]"],
    "A queue for each user": ["for bob alone"],
    "An object pool": ["{'connection': 0}"],
    "Pre-forked workers": {f"worker {n}" for n in range(4)},
    "One queue for several processes": {str(n) for n in range(20)},
    "A daemon that is killed and restarted": [str(n) for n in range(5)],
    "A rolling deploy": ["Order(number=1)"],
    "No home, or one that can't be written": [],
    "Large items in a priority queue": ["b'small'"],
    "Items that can't be serialised": ["('job', 7)", "True"],
    "A notebook, a REPL, -c, tests": ["1"],
    "Questions and answers": ["2 4"],
    "Many queues at a time": ["780"],
}


def run(example: str, directory: Path) -> list[str]:
    (directory / "program.py").write_text(example)
    home = str(directory / "home")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": home},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(("title", "example"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_the_example_runs_and_runs_again(tmp_path: Path, title: str, example: str) -> None:
    for _ in range(2):  # what the first run left mustn't be in the second one's way
        printed = run(example, tmp_path)
        if title in PRINTED:
            expected = PRINTED[title]
            assert expected == (set(printed) if isinstance(expected, set) else printed)
            assert len(printed) == len(expected)


@pytest.mark.parametrize("title", ["Batches", "get() in one thread, task_done() in another"])
def test_what_a_kill_left_is_worked_off(tmp_path: Path, title: str) -> None:
    """These two took as many as they had put, and waited for ever: for a hundred that never came, or in join()."""
    example = dict(EXAMPLES)[title]
    killed = example.replace("q.put(item)\n", "q.put(item)\n    if item == 6: import os; os.kill(os.getpid(), 9)\n", 1)
    with pytest.raises(AssertionError):
        run(killed, tmp_path)
    count = 300 if title == "Batches" else 30
    assert sum(map(int, run(example, tmp_path))) == sum(range(7)) + sum(range(count))


def test_what_a_killed_program_and_its_children_left_is_worked_off(tmp_path: Path) -> None:
    """It had stopped its workers by None, which stopped those of the next run: that waited in join() for ever."""
    example = dict(EXAMPLES)["One queue for several processes"]
    killed = f"import os\nos.setsid()\n{example}".replace("jobs.join()", "os.killpg(0, 9)")
    with pytest.raises(AssertionError):
        run(killed, tmp_path)
    assert set(run(example, tmp_path)) == {str(n) for n in range(20)}


def test_what_a_kill_left_for_a_user_is_his_whoever_comes_first(tmp_path: Path) -> None:
    """Without a name it is the order of the queues that tells: Bob's, the first one here, would have what was Ann's."""
    example = dict(EXAMPLES)["A queue for each user"]
    with pytest.raises(AssertionError):
        run(example.replace("print(", "import os\nos.kill(os.getpid(), 9)\nprint("), tmp_path)
    assert run(re.sub(r"for user in .*\n.*\n", "", example), tmp_path) == ["for bob alone"]


def test_every_pattern_has_an_example() -> None:
    patterns = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert [title for title in patterns if title not in dict(EXAMPLES)] == []
    assert len(patterns) > 12
