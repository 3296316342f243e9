"""`python -m pqadapters.stores.sqlite DAMAGED NEW`: what is whole in a damaged database, in a new one."""

from __future__ import annotations

import argparse
import os
import sys

from ...errors import StoreError
from .damage.salvage import salvage


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("damaged", help="the database's file; no process may use it meanwhile. It is only read")
    parser.add_argument("new", help="the file of the new one, which must not be there")
    given = parser.parse_args()
    try:
        found = salvage(given.damaged, to=given.new)
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    line = (
        f"{found.records} records and {found.keys} keys are whole, {found.lost} are damaged and left out; "
        "what was on pages that are gone isn't counted\n"
    )
    if sys.stdout is None:  # it was closed
        return 0
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except OSError as error:  # nobody reads it, or there is no room for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python, which tries again at its end
        sys.stderr.write(f"{line.rstrip()}; stdout: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
