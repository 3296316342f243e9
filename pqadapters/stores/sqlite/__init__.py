"""The SQLite store: one database file for any number of threads and processes of one host. schema.py draws its rows."""

from .damage.salvage import salvage
from .damage.salvaged import Salvaged
from .store import SqliteStore

__all__ = ["Salvaged", "SqliteStore", "salvage"]
