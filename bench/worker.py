"""One step of one measurement in a process of its own: `python -m bench.worker JOB` prints its numbers as JSON, behind
`MARK`: contenders print, too.

JOB is a `Job` as a JSON object. Nothing survives but what the contender leaves in the job's directory. A step may end
by SIGKILL, after it has printed.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Sequence

from .contenders import contenders
from .scenario import Job, Values
from .scenarios import scenarios

MARK = "pqbench values "  #: begins a line with numbers


def main(arguments: Sequence[str]) -> None:
    job = Job(**json.loads(arguments[0]))
    scenario, contender = scenarios()[job.scenario], contenders()[job.contender]
    gc.collect()
    scenario.steps_of(contender)[job.step](scenario, contender, job, report)


def report(values: Values) -> None:
    print(f"\n{MARK}{json.dumps(dict(values))}", flush=True)  # a contender may have left a line without an end


if __name__ == "__main__":
    main(sys.argv[1:])
