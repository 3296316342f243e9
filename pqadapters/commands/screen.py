"""What a command prints: tables for people, JSON for programs.

Names and payloads are somebody else's: what isn't printable is shown escaped, so that no terminal obeys it, and nothing
in them is rich's markup. Into a pipe lines are as long as they have to be.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..wording import escaped

_WIDE = 1 << 20  #: columns of a pipe


class Screen:
    """stdout, as it is when the command runs; nowhere, where the caller has closed it."""

    def __init__(self) -> None:
        out = sys.stdout or io.StringIO()
        self._console = Console(
            file=out,
            width=None if out.isatty() else _WIDE,
            markup=False,
            highlight=False,
            emoji=False,
            soft_wrap=not out.isatty(),
        )

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: str) -> None:
        """Columns named in `right` (comma-separated) are of numbers. None is shown as "-"."""
        numbers = right.split(",")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in columns:
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold", header_style="bold")
        for row in rows:
            table.add_row(*(Text(self._fitting("-" if cell is None else str(cell))) for cell in row))
        if table.row_count:
            self._console.print(table, soft_wrap=False)

    def line(self, text: str) -> None:
        self._console.print(Text(self._fitting(text)), soft_wrap=True)

    def _fitting(self, text: str) -> str:
        return escaped(text).encode(self._console.encoding, "backslashreplace").decode(self._console.encoding)


def print_json(value: object) -> None:
    """One document; nothing but ASCII, so that no terminal obeys it either."""
    click.echo(json.dumps(value, indent=1))


def age(seconds: float | None) -> str | None:
    """For people."""
    if seconds is None:
        return None
    seconds = max(0.0, seconds)
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
