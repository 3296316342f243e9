"""A result in words and columns, as Markdown that reads well as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .figures import Verdict
from .result import Result, Series, Spread
from .scenario import Metric, Scenario
from .scenarios import scenarios


def number(value: float) -> str:
    """Three digits and a comma at the thousands."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(found: Spread | None) -> str:
    if found is None:
        return "-"
    if found.rounds == 1:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)} to {number(found.high)})"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a Markdown table; the first is its head, the first column its words."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(_cells(row, widths)) + " |" for row in rows]
    rule = [("-" * width if not at else "-" * (width - 1) + ":") for at, width in enumerate(widths)]
    return [lines[0], "| " + " | ".join(rule) + " |", *lines[1:]]


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    padded = zip(row, widths, strict=True)
    return [cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(padded)]


def report(result: Result, verdicts: Sequence[Verdict]) -> str:
    """Everything: the machine, who took part, each scenario, what durability was observed, the figures."""
    parts = [*_machine(result), "", *_who(result)]
    for scenario in scenarios().values():
        parts += _scenario(result, scenario)
    parts += ["", "## Durability as observed", "", *_observed(result), "", "## Figures", "", *figures(verdicts)]
    return "\n".join(parts) + "\n"


def _machine(result: Result) -> Iterator[str]:
    yield "# Queues and mappings side by side"
    yield ""
    for name, value in {**result.machine, **result.settings}.items():
        yield f"- {name}: {value}"


def _who(result: Result) -> list[str]:
    rows = [("contender", "version", "what")]
    for name, facts in result.contenders.items():
        rows.append((name, facts["missing"] or facts["version"] or "-", facts["about"]))
    return columns(rows)


def _scenario(result: Result, scenario: Scenario) -> list[str]:
    rows = {name: row for name in result.contenders if (row := _row(result, scenario, name))}
    if not rows:
        return []
    first = scenario.metrics[0]
    names = sorted(rows, key=lambda name: _rank(result, scenario, first, name))
    numbers = [f"{each.name} [{each.unit}]" for each in scenario.metrics]
    head = ["contender", "survives", *numbers, "of the floor", "of ours"]
    lines = ["", f"## {scenario.name}: {scenario.about}", "", *columns([head, *(rows[name] for name in names)])]
    without = [each for each in result.absent if each.scenario == scenario.name and each.contender not in rows]
    absent = [f"{each.contender} ({each.reason})" for each in without]
    return [*lines, "", f"Not measured: {'; '.join(absent)}"] if absent else lines


def _rank(result: Result, scenario: Scenario, metric: Metric, name: str) -> float:
    found = result.spread(Series(scenario.name, name, metric.name))
    return float("inf") if found is None else -found.median if metric.more else found.median


def _row(result: Result, scenario: Scenario, name: str) -> list[str]:
    if not (level := result.level(scenario.name, name)):
        return []
    cells = [spread(result.spread(Series(scenario.name, name, each.name))) for each in scenario.metrics]
    return [name, level, *cells, *_ratios(result, scenario, name)]


def _ratios(result: Result, scenario: Scenario, name: str) -> list[str]:
    """The scenario's own metric by the floor's, and by ours."""
    metric = scenario.metrics[0].name
    here = Series(scenario.name, name, metric)
    floor = Series(scenario.name, scenario.floor, scenario.floor_metric)
    ours = Series(scenario.name, scenario.ours, metric)
    return [_times(result.ratios(here, floor)), _times(result.ratios(here, ours))]


def _times(found: Spread | None) -> str:
    return "-" if found is None else f"{found.median:.2f}"


def _observed(result: Result) -> list[str]:
    head = ("contender", "asked for", "syncs/put or set", "synced first", "syncs/get(+done)", "SIGKILL", "in hand then")
    rows = [head]
    for name, facts in result.contenders.items():
        for level, seen in facts.get("observed", {}).items():
            rows.append((name, level, *_seen(seen)))
    return columns(rows) if len(rows) > 1 else ["Not looked at in this run."]


def _seen(seen: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    traced, killed = seen["trace"], seen["kill"]
    if why := traced.get("none"):
        cells = (f"no trace: {why}", "-", "-")
    else:
        synced = f"{traced['synced_puts']} of {traced['puts']}"
        done = traced.get("syncs_per_done")
        cells = (number(traced["syncs_per_put"]), synced, "-" if done is None else number(done))
    if why := killed.get("none"):
        return (*cells, why, "-")
    found, announced = killed["found"], killed["announced"]
    answer = "survives" if found == announced else "loses"
    held = {True: "comes again", False: "isn't there", None: "-"}[killed.get("held_again")]
    return (*cells, f"{answer}: {found} of {announced}", held)


def figures(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each figure."""
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    rows = [("figure", "wanted", "", "found")]
    for each in verdicts:
        rows.append((each.about, each.wanted, words[each.reached], spread(each.found) if each.found else each.reason))
    return columns(rows)
