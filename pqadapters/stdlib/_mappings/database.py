"""What a shelf's `dict` is: a mapping of bytes in a table, as a dbm is one in a file."""

from __future__ import annotations

from typing import Any

from .mapping import DurableMapping
from .table import ClosedTable, Table


class Database(DurableMapping[bytes, bytes]):
    """What a shelf's `dict` is: bytes by bytes, as in a dbm. Text is taken for its UTF-8."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def _key_to_bytes(self, key: Any) -> bytes:
        return _as_bytes(key, "keys")

    def _key_from_bytes(self, data: bytes) -> bytes:
        return data

    def _value_to_bytes(self, value: bytes) -> bytes:
        return _as_bytes(value, "values")

    def _value_from_bytes(self, data: bytes) -> bytes:
        return data

    def close(self) -> None:
        """Let go of the store. A second call does nothing."""
        table, self._table = self._table, closed()
        if isinstance(table, Table):
            table.close()


def _as_bytes(value: Any, what: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, (bytes, bytearray)):
        raise TypeError(f"{what} are bytes or str, not {type(value).__name__}")
    return bytes(value)


def closed() -> Any:
    return ClosedTable(lambda: ValueError("invalid operation on closed shelf"))
