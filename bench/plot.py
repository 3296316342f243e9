"""A result as an SVG: a panel for each scenario, a bar for each contender, a line from its slowest round to the best.

Drawn by matplotlib, which is imported here alone, and only when there is something to draw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .result import Result, Series, Spread
from .scenario import Scenario
from .scenarios import scenarios

_OURS, _FLOOR, _OTHER = "#c2410c", "#9ca3af", "#3b82f6"
_ROW = 0.26  # inches


def draw(result: Result, path: Path) -> None:
    """Write the SVG. Raises ImportError where matplotlib isn't installed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    panels = [(each, bars) for each in scenarios().values() if (bars := _bars(result, each))]
    if not panels:
        return
    heights = [len(bars) + 3 for _, bars in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        squeeze=False,
        figsize=(9, _ROW * sum(heights)),
        height_ratios=heights,
        layout="constrained",
    )
    for axis, (scenario, bars) in zip(axes.flat, panels, strict=True):
        _panel(axis, scenario, bars)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _bars(result: Result, scenario: Scenario) -> list[tuple[str, Spread]]:
    """The contenders by the scenario's first metric, the best one on top."""
    metric = scenario.metrics[0]
    found = [(name, result.spread(_series(scenario, name))) for name in result.contenders]
    bars = [(name, spread) for name, spread in found if spread is not None]
    return sorted(bars, key=lambda bar: bar[1].median, reverse=not metric.more)


def _series(scenario: Scenario, name: str) -> Series:
    metric = scenario.floor_metric if name == scenario.floor else scenario.metrics[0].name
    return Series(scenario.name, name, metric)


def _panel(axis: Any, scenario: Scenario, bars: list[tuple[str, Spread]]) -> None:
    metric = scenario.metrics[0]
    names = [name for name, _ in bars]
    medians = [spread.median for _, spread in bars]
    below = [spread.median - spread.low for _, spread in bars]
    above = [spread.high - spread.median for _, spread in bars]
    colours = [_OURS if name == scenario.ours else _FLOOR if name == scenario.floor else _OTHER for name in names]
    axis.barh(names, medians, color=colours, xerr=[below, above], error_kw={"linewidth": 1})
    axis.set_xscale("log")
    axis.set_title(f"{scenario.name}: {scenario.about}", fontsize=9, loc="left")
    better = "" if metric.more else ": less is better"
    axis.set_xlabel(f"{metric.name} [{metric.unit}]{better}", fontsize=8)
    axis.tick_params(which="both", labelsize=8)
