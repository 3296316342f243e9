"""Durability as observed: what a trace tells of syncs, and that our own queue is seen as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.contender import Kind, Level
from bench.contenders import OUR_EXECUTOR, OUR_LOG, OUR_MAPPING, OUR_PERSISTQUEUE, OURS, contenders
from bench.observed import count_syncs, observe

TRACE = """\
7 write(1, "pqbench put-begins 0\\n", 21) = 21
7 fdatasync(5) = 0
7 write(1, "pqbench put-ends 0\\n", 19) = 19
8 fsync(6) = 0
7 write(1, "pqbench put-begins 1\\n", 21) = 21
8 msync(0x7f0000, 4096, MS_SYNC <unfinished ...>
7 write(1, "pqbench put-ends 1\\n", 19) = 19
8 <... msync resumed>) = 0
7 write(1, "pqbench get-begins 0\\n", 21) = 21
8 fsync(6 <unfinished ...>
8 <... fsync resumed>) = 0
7 fdatasync(5) = -1 EIO (Input/output error)
7 write(1, "pqbench get-ends 0\\n", 19) = 19
"""


def test_a_sync_counts_if_it_came_back_before_the_call_did() -> None:
    assert count_syncs(TRACE.splitlines()) == {"puts": 2, "synced_puts": 1, "syncs_per_put": 0.5, "syncs_per_done": 1.0}


@pytest.mark.parametrize(
    "call", ["msync(0x7f0000, 4096, MS_ASYNC)", "sync_file_range(5, 0, 4096, SYNC_FILE_RANGE_WRITE)"]
)
def test_what_only_begins_to_write_is_no_sync(call: str) -> None:
    lines = ['7 write(1, "pqbench put-begins 0\\n", 21) = 21', f"7 {call} = 0"]
    assert count_syncs(lines) == {"puts": 1, "synced_puts": 0, "syncs_per_put": 0.0}


def test_a_trace_without_marks_is_none() -> None:
    assert count_syncs(["7 fsync(6) = 0"]) == {"none": "the trace has no marks"}


@pytest.mark.parametrize("level", [Level.POWER, Level.PROCESS])
def test_our_own_queue(level: Level, tmp_path: Path) -> None:
    seen = observe(contenders()[OURS], level, tmp_path, 60.0)
    assert seen["kill"] == {"announced": 199, "found": 199, "held_again": True}
    if "none" not in seen["trace"]:  # strace may be missing, or forbidden
        # Its own thread syncs now and then, and may do so during a put, or a get, on a slow machine.
        assert seen["trace"]["synced_puts"] == 20 if level is Level.POWER else seen["trace"]["synced_puts"] < 10
        assert seen["trace"]["syncs_per_done"] < 0.5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", [Level.POWER, Level.PROCESS])
def test_our_own_mapping_which_holds_nothing(level: Level, tmp_path: Path) -> None:
    seen = observe(contenders()[OUR_MAPPING], level, tmp_path, 60.0)
    assert seen["kill"] == {"announced": 200, "found": 200}
    if "none" not in seen["trace"]:
        assert seen["trace"]["puts"] == 20
        if level is Level.POWER:  # else its own thread syncs now and then, and may do so during a set
            assert seen["trace"]["synced_puts"] == 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [OUR_LOG, OUR_EXECUTOR])
@pytest.mark.parametrize("level", [Level.POWER, Level.PROCESS])
def test_our_own_log_handler_and_executor_which_hand_nothing_out(name: str, level: Level, tmp_path: Path) -> None:
    seen = observe(contenders()[name], level, tmp_path, 60.0)
    assert seen["kill"] == {"announced": 200, "found": 200}
    if "strace" not in seen["trace"].get("none", ""):
        assert (seen["trace"]["puts"], "syncs_per_done" in seen["trace"]) == (20, False)
        if level is Level.POWER:
            assert seen["trace"]["synced_puts"] == 20
    assert list(tmp_path.iterdir()) == []


def test_our_queue_with_the_methods_of_persist_queue(tmp_path: Path) -> None:
    seen = observe(contenders()[OUR_PERSISTQUEUE], Level.PROCESS, tmp_path, 60.0)
    assert seen["kill"] == {"announced": 199, "found": 199, "held_again": True}


def test_a_bare_loop_of_puts_and_a_queue_in_memory(tmp_path: Path) -> None:
    loop = observe(contenders()["bare-fdatasync"], Level.POWER, tmp_path, 60.0)
    if "none" not in loop["trace"]:
        assert loop["trace"] == {"puts": 20, "synced_puts": 20, "syncs_per_put": 1.0}
    assert loop["kill"] == {"none": "hands nothing out"}
    kept = observe(contenders()["stdlib"], Level.MEMORY, tmp_path, 60.0)
    assert kept["kill"] == {"announced": 199, "found": 0, "held_again": False}


def test_without_strace_the_trace_is_missing_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = observe(contenders()[OURS], Level.PROCESS, tmp_path, 60.0)
    assert seen == {
        "trace": {"none": "strace isn't installed"},
        "kill": {"announced": 199, "found": 199, "held_again": True},
    }


def test_a_program_and_a_server_are_not_observed() -> None:
    seen = {each.kind for each in contenders().values() if each.is_observed}
    assert seen == {*Kind} - {Kind.START, Kind.SERVER}
