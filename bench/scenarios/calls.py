"""How many calls of functions, of Python's and of C's, a put takes, and a get with its acknowledgement.

Counted by cProfile; of some dozens of turns the one in the middle tells, since it counts what other threads do
meanwhile, too. It doesn't depend on the machine; what an extension does inside isn't seen.
"""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from statistics import median

from ..contender import Contender, Level
from ..scenario import Job, Metric, Report, Scenario, check, items, timed_get, timed_put

_TURNS, _TURN = 41, 50  #: turns, and operations of one
_OF_PUTS, _OF_GETS = 6, 5  #: calls that a turn takes by itself
_PUT, _GET = Metric("put", "calls", more=False), Metric("get+done", "calls", more=False)


def count(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """All in, and all out and acknowledged, behind a first few."""
    handle = contender.open(job.directory, Level(job.level))
    given = list(items(_TURN, scenario.size))

    def put() -> None:
        timed_put(handle.put, iter(given))

    def get() -> None:
        timed_get(handle.get, handle.done, _TURN)

    if not contender.gets:
        return report({_PUT.name: _calls(put, _OF_PUTS)})
    check(handle, scenario)  # what happens once isn't of interest
    report({_PUT.name: _calls(put, _OF_PUTS), _GET.name: _calls(get, _OF_GETS)})


def _calls(turn: Callable[[], object], own: int) -> float:
    """For each operation of a turn."""
    found = []
    for _ in range(_TURNS):
        profile = cProfile.Profile()
        profile.runcall(turn)
        found.append(sum(each.callcount for each in profile.getstats()) - own)
    return median(found) / _TURN


SCENARIOS = (
    Scenario(
        name="calls",
        about="calls of functions that cProfile counts for an item of 40 characters, one thread",
        level=Level.PROCESS,
        floor="bare-write",
        metrics=(_PUT, _GET),
        steps=(count,),
        puts_only=True,
        quick=False,
        rounds=1,
    ),
)
