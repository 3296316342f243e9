"""The contract can fail: each store of `broken.py` turns a named test of it red, for the right reason."""

from __future__ import annotations

import importlib
import linecache
import re
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis.stateful import run_state_machine_as_test

from .broken import (
    BROKEN,
    Broken,
    CountsNoAttempts,
    ForgetsCountedAttempts,
    IgnoresWhatASetExpects,
    KeepsTheTablesOfAFailedCommit,
    KnowsOneOrder,
    LosesAPut,
    LosesDeadLetters,
    MovesKeysThatAreSetAgain,
    PutsNackedRecordsLast,
)
from .broken_details import ScansByKey
from .broken_moved import CountsFromZeroAgain, DropsNotesOverANack, DropsNotesWithTheHandle, TakesEveryRecordForNew
from .kept import KeptKind, KeptStore
from .machine import QUICK, SETTINGS, machine
from .maker import PATIENCE, Maker

#: Seconds that a broken store is given for what it will never do. Another's test is waited for: it may be slow.
IMPATIENCE = 0.5

Test = Callable[[Maker], None]


#: The modules of the contract, whose tests want `make_store` and nothing else.
_MODULES = {path.stem for path in Path(__file__).parent.glob("test_*.py")} - {"test_broken", "test_machine"}


def _tests() -> Iterator[tuple[str, Test]]:
    for module in sorted(_MODULES):
        found = importlib.import_module(f".{module}", __package__)
        yield from ((name, test) for name, test in vars(found).items() if name.startswith("test_"))


CONTRACT = dict(_tests())


def _failure(test: Test, make_store: Maker) -> str:
    """The line of the test that failed and the error; empty where none did."""
    try:
        with make_store:
            test(make_store)
    except (Exception, pytest.fail.Exception) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [linecache.getline(f.filename, f.lineno or 0) for f in frames if Path(f.filename).stem in _MODULES]
        return f"{''.join(lines)}{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("name", list(CONTRACT))
def test_a_store_that_keeps_the_contract_is_green(name: str) -> None:
    assert _failure(CONTRACT[name], Maker(KeptKind(KeptStore))) == ""


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.store.__name__}-{broken.test}")
def test_a_broken_store_is_red(broken: Broken) -> None:
    patience = IMPATIENCE if "Hung" in broken.reason else PATIENCE
    failure = _failure(CONTRACT[broken.test], Maker(KeptKind(broken.store), patience=patience))
    assert failure, f"{broken.store.__name__} passes {broken.test}"
    assert re.search(broken.reason, failure), f"red for another reason:\n{failure}"


def test_the_machine_is_green_on_a_store_that_keeps_the_contract() -> None:
    run_state_machine_as_test(machine(partial(KeptKind, KeptStore)), settings=SETTINGS)


@pytest.mark.parametrize(
    "store",
    [
        CountsFromZeroAgain,
        CountsNoAttempts,
        DropsNotesOverANack,
        DropsNotesWithTheHandle,
        ForgetsCountedAttempts,
        IgnoresWhatASetExpects,
        KeepsTheTablesOfAFailedCommit,
        KnowsOneOrder,
        LosesAPut,
        LosesDeadLetters,
        MovesKeysThatAreSetAgain,
        PutsNackedRecordsLast,
        ScansByKey,
        TakesEveryRecordForNew,
    ],
)
def test_the_machine_is_red_on_a_broken_store(store: type[KeptStore]) -> None:
    with pytest.raises((AssertionError, KeyError)):  # KeyError: an id that the model never gave
        run_state_machine_as_test(machine(partial(KeptKind, store)), settings=QUICK)
