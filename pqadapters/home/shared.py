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


def open_shared(**options: Any) -> Store:
    """A handle on the database of the application's named queues. Raises NoHome, StoreError."""
    program = application()
    home = home_of(program)
    try:
        return open_database(os.path.join(home, program.name, DATABASE), **options)
    except StoreError as error:
        problem = unusable(error, home)
        if problem is error:
            raise
        raise problem from error
