"""What persist-queue has written becomes a store of ours, in place or elsewhere; the original is kept.

Payloads are moved as bytes. Nothing is unpickled on the way, but by a serializer of the program's own that it has
chosen itself.
"""

from .chunks import guess
from .databases import SUFFIX, convert_database, is_theirs, look_at_database, move_database
from .directories import convert_directory, is_file_queue, look_at_directory, move_directory
from .report import Part, Progress, Report
from .shelves import convert_shelf, is_shelf, look_at_shelf, move_shelf
from .strays import convert_strays, look_at_strays, move_strays

__all__ = [
    "SUFFIX",
    "Part",
    "Progress",
    "Report",
    "convert_database",
    "convert_directory",
    "convert_shelf",
    "convert_strays",
    "guess",
    "is_file_queue",
    "is_shelf",
    "is_theirs",
    "look_at_database",
    "look_at_directory",
    "look_at_shelf",
    "look_at_strays",
    "move_database",
    "move_directory",
    "move_shelf",
    "move_strays",
]
