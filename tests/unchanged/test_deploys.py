"""A rolling deploy: two versions of a program, of which the older one lacks a class that the newer one's items have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .harness import App, Run


class Shop:
    """Two releases of the shop, each in its directory, both run with -m: the same application."""

    def __init__(self, directory: Path) -> None:
        self.app = App(directory, "shop")
        for version in ("old", "new"):
            self.app.install("shop", version)
            self.app.copy(f"models_{version}", self.app.code / version / "models.py")

    def version(self, version: str) -> dict[str, Any]:
        return {"command": ["-m", "shop"], "cwd": self.app.code / version}

    def run(self, version: str, *orders: int) -> Run:
        return self.app.run(*orders, errors=".*", **self.version(version))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_both_versions_undisturbed(shop: Shop) -> None:
    for version in ("old", "new"):
        assert shop.run(version, 1, 2, 3).items("done") == [1, 2, 3]
        assert shop.app.slots() == []


@pytest.mark.parametrize("ends", ["is killed", "ends normally"])
def test_what_the_old_version_does_not_know_waits_for_the_new_one(ends: str, shop: Shop) -> None:
    shop.app.killed(1, 2, 3, 4, at=["all put"], **shop.version("new"))
    with shop.app.start(11, hold=["finished"], **shop.version("old")) as old:
        old.until("finished")
        assert old.items("done") == [1, 3, 11]  # it adopted all of them, and could read these
        assert shop.run("new", 12).items("done") == [12]  # both live: what the old one holds is the old one's
        if ends == "is killed":
            old.kill()
        else:
            old.release("finished")
            assert old.end().status == 0
    assert "is left to others for an hour" in old.errors
    assert "dead letter" not in old.errors
    assert [home.dead for home in shop.app.homes()] == [0]
    assert shop.run("new", 21).items("done") == [2, 4, 21]
    assert shop.app.slots() == []


def test_the_old_version_does_not_stop_at_what_it_does_not_know(shop: Shop) -> None:
    """Run after run, as often as it is started."""
    shop.app.killed(2, 4, at=["all put"], **shop.version("new"))
    for number in (11, 13, 15):
        assert shop.run("old", number).items("done") == [number]
    assert shop.run("new").items("done") == [2, 4]
    assert shop.app.slots() == []


def test_a_new_version_that_is_killed_while_the_old_one_lives(shop: Shop) -> None:
    with shop.app.start(11, hold=["begin 11"], **shop.version("old")) as old:
        old.until("begin 11")
        shop.app.killed(2, 3, at=["begin 2"], **shop.version("new"))
        assert shop.run("new").items("done") == [2, 3]
        old.release("begin 11")
        assert old.end().items("done") == [11]
    assert shop.app.slots() == []
