"""The MySQL store as a kind of store that the contract is run on: a database on the server of this process."""

from __future__ import annotations

import os
from pathlib import Path

from pqadapters.clock import Clock
from pqadapters.store import Store
from pqadapters.stores.mysql import MysqlStore

from .server import shared


class MysqlKind:
    """`durability` is asked for; the server gives "power"."""

    def __init__(self, directory: Path, *, durability: str) -> None:
        self._durability = durability
        self._url: str | None = None
        directory.parent.mkdir(parents=True, exist_ok=True)

    def open(self, clock: Clock) -> Store:
        if self._url is None:
            server = shared()
            name = f"contract_{os.getpid()}"
            server.run(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
            self._url = server.url(name)
        return MysqlStore(self._url, durability=self._durability, clock=clock)

    def another(self, store: Store, clock: Clock) -> Store:
        return self.open(clock)
