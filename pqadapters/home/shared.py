"""Where queues with a name alone live: one database for all processes of the application.

    <home>/<application>/named.db

Any thread may use it, and a forked child goes on with a connection of its own.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import StoreError
from ..opening import open_database
from ..store import Store
from .application import application
from .ground import home_of, unusable

DATABASE = "named.db"


def shared_path(database: str = DATABASE) -> str:
    """The file of a database of the application. Raises NoHome."""
    program = application()
    return os.path.join(home_of(program), program.name, database)


def open_shared(**options: Any) -> Store:
    """A handle on the database of the application's named queues. Raises NoHome, StoreError."""
    return open_in_home(shared_path(), **options)


def open_in_home(path: str, **options: Any) -> Store:
    """A handle on a database of the application. Raises NoHome, StoreError."""
    try:
        return open_database(path, **options)
    except StoreError as error:
        home = os.path.dirname(os.path.dirname(path))
        problem = unusable(error, home)
        if problem is error:
            raise
        raise problem from error
