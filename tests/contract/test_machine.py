"""Each store behaves as the memory store does, operation by operation. HYPOTHESIS_PROFILE=deep looks longer."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import SETTINGS, machine
from .stores import KINDS


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_store_is_like_its_model(kind: str) -> None:
    slow = settings(SETTINGS, max_examples=SETTINGS.max_examples // 2)  # where each step asks a server
    run_state_machine_as_test(machine(KINDS[kind]), settings=slow if kind == "mysql" else SETTINGS)
