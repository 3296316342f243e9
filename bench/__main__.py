"""The command: `python -m bench --help`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import figures, interruption, machine, rounds, table
from .contender import Contender, Level
from .contenders import contenders
from .measurement import end_all
from .observed import observe
from .result import Absence, Measurement, Result, replace, save
from .rounds import Settings
from .scenario import Scenario
from .scenarios import scenarios

_PATIENCE = 300.0  #: seconds for a process of a whole run
_QUICK_PATIENCE = 20.0
_QUICK_OBSERVING = 28.0  #: with the measurements' budget and the plot, two minutes
_INTERRUPTED = 130  #: the exit status, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a figure was asked for and missed."""
    options = _parser().parse_args(arguments)
    chosen = _chosen(scenarios(), options.scenario, "scenario")
    if options.quick and not options.scenario:
        chosen = {name: each for name, each in chosen.items() if each.quick}
    contending = _chosen(contenders(), options.contender, "contender")
    if options.list:
        _list(chosen, contending)
        return 0
    with _scratch(options.directory, options.output) as directory:
        result = _measured(chosen, contending, options, Path(directory))
    if not result.measurements:
        _say("\n".join(["nothing was measured, and nothing is written", *_reasons(result)]))
        return _INTERRUPTED if _interrupted(result) else 1
    verdicts = figures.evaluate(result)
    text = table.report(result, verdicts)
    print(text)
    try:
        _write(result, text, options.output)
    except OSError as error:
        raise SystemExit(f"the results can't be written: {error}") from None
    return _status(options, result, verdicts)


def _status(options: argparse.Namespace, result: Result, verdicts: Sequence[figures.Verdict]) -> int:
    if _interrupted(result):
        return _INTERRUPTED
    return int(options.check and any(each.reached is False for each in verdicts))


def _interrupted(result: Result) -> bool:
    return bool(result.settings.get("interrupted"))


def _reasons(result: Result) -> list[str]:
    if _interrupted(result):
        return []
    return [f"{each.scenario}, {each.contender}: {each.reason}" for each in result.absent] or [
        "none of these contenders has a part in these scenarios (--list)"
    ]


def _scratch(directory: Path | None, output: Path) -> tempfile.TemporaryDirectory[str]:
    """Where queues are made. Raises SystemExit where they can't be, or where results can't be written, hours later."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
        place = directory and directory.absolute()  # processes have working directories of their own
        return tempfile.TemporaryDirectory(prefix="pqadapters-bench-", dir=place)
    except OSError as error:
        raise SystemExit(f"--output and --directory name directories that can be written to: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Queues and mappings side by side, in rounds.")
    add = parser.add_argument
    add("--quick", action="store_true", help="few short rounds of the quick scenarios: two minutes")
    add("--scenario", action="append", metavar="NAME", help="only this one; may be repeated")
    add("--contender", action="append", metavar="NAME", help="only this one; may be repeated")
    add("--rounds", type=_count, metavar="N", help="rounds (5; 2 when quick)")
    add("--seconds", type=_seconds, metavar="S", help="of one measurement, about (1.0; 0.15 when quick)")
    add("--budget", type=_seconds, metavar="S", help="no measurement begins later (3600; 90 when quick)")
    add("--directory", type=Path, help="where queues are made: on a disk that matters (that of temporary files)")
    add("--output", type=Path, default=Path("build/bench"), help="directory of the results (build/bench)")
    add("--no-observing", action="store_true", help="don't look at syncs and SIGKILL")
    add("--check", action="store_true", help="exit with 1 where a figure is missed")
    add("--list", action="store_true", help="list scenarios and contenders, and measure nothing")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")


def _chosen(every: dict[str, Any], names: Sequence[str] | None, what: str) -> dict[str, Any]:
    unknown = [name for name in names or () if name not in every]
    if unknown:
        raise SystemExit(f"there is no {what} {unknown[0]!r}: choose from {', '.join(every)}")
    return {name: every[name] for name in every if not names or name in names}


def _list(chosen: dict[str, Scenario], contending: dict[str, Contender]) -> None:
    print("\n".join(table.columns([("scenario", "what"), *((each.name, each.about) for each in chosen.values())])))
    rows = [(each.name, each.missing() or each.version() or "-", each.about) for each in contending.values()]
    print("\n".join(["", *table.columns([("contender", "version", "what"), *rows])]))


def _measured(
    chosen: dict[str, Scenario], contending: dict[str, Contender], options: argparse.Namespace, directory: Path
) -> Result:
    settings = _settings(options, directory)
    facts = machine.facts(directory)
    if warning := machine.warning(directory):
        _say(warning)
    who = {name: _who(each) for name, each in contending.items()}
    part, absent = rounds.entries(chosen, contending, settings.seconds)
    measurements: list[Measurement] = []
    interrupted = False
    try:
        for made in rounds.run(part, settings, _say):
            if isinstance(made, Absence):
                absent.append(made)
            else:
                measurements.append(made)
        if not options.no_observing:
            _observe({each.contender: contending[each.contender] for each in measurements}, who, settings)
    except KeyboardInterrupt:
        interrupted = True
        _say("interrupted: what was measured until now is all there is")
    shown = {
        "rounds": settings.rounds,
        "whole rounds": rounds.whole(part, measurements, absent, settings.rounds),
        "seconds": settings.seconds,
        "quick": options.quick,
    }
    if interrupted:
        shown["interrupted"] = True
    return Result(facts, shown, who, measurements, absent)


def _settings(options: argparse.Namespace, directory: Path) -> Settings:
    quick = options.quick
    return Settings(
        directory,
        options.rounds or (2 if quick else 5),
        options.seconds or (0.15 if quick else 1.0),
        options.budget or (90.0 if quick else 3600.0),
        _QUICK_PATIENCE if quick else _PATIENCE,
        _QUICK_OBSERVING if quick else float("inf"),
    )


def _who(contender: Contender) -> dict[str, Any]:
    return {"about": contender.about, "version": contender.version(), "missing": contender.missing(), "observed": {}}


def _observe(taking_part: dict[str, Contender], who: dict[str, dict[str, Any]], settings: Settings) -> None:
    """Several at a time: nothing is timed here."""
    rows = [
        (each, level)
        for each in taking_part.values()
        if each.is_observed
        for level in each.speed
        if level is not Level.MEMORY or not each.puts_alone
    ]
    end = time.monotonic() + settings.observing

    def look(row: tuple[Contender, Level]) -> dict[str, Any]:
        contender, level = row
        if time.monotonic() > end:
            return {each: {"none": rounds.NO_TIME} for each in ("trace", "kill")}
        _say(f'observing {contender.name} at "{level.value}"')
        return observe(contender, level, settings.directory, settings.patience)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = [pool.submit(look, row) for row in rows]
        try:
            for (contender, level), seen in zip(rows, looks, strict=True):
                who[contender.name]["observed"][level.value] = seen.result()
        except BaseException:
            for each in looks:
                each.cancel()
            while wait(looks, 0.1).not_done:  # which may begin another process
                end_all()
            raise


def _write(result: Result, text: str, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    report, plot = output / "results.md", output / "results.svg"
    save(result, output / "results.json")
    for earlier in (report, plot):
        earlier.unlink(missing_ok=True)
    replace(report, lambda new: new.write_text(text, encoding="utf-8"))
    try:
        from .plot import draw

        replace(plot, lambda new: draw(result, new))
    except ImportError:
        _say("no plot: matplotlib isn't installed")
    _say(f"written to {output}: results.json, results.md{', results.svg' if plot.exists() else ''}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    interruption.install()
    sys.exit(main())
