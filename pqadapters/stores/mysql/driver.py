"""PyMySQL and DBUtils, imported when a store on a server is opened and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

try:
    pymysql: Any = import_module("pymysql")
    steady: Any = import_module("dbutils.steady_db")
except ImportError as error:
    raise ImportError(
        "the MySQL store needs PyMySQL and DBUtils: pip install 'pqadapters[mysql]'", name=error.name
    ) from error

#: What a server, or the way to it, may answer with. PyMySQL lets some errors of sockets through as they are.
ERRORS: tuple[type[Exception], ...] = (pymysql.err.Error, OSError)
FAILURES: tuple[type[Exception], ...] = (
    pymysql.err.OperationalError,
    pymysql.err.InterfaceError,
    pymysql.err.InternalError,
)
FLAGS: int = pymysql.constants.CLIENT.MULTI_STATEMENTS | pymysql.constants.CLIENT.FOUND_ROWS
