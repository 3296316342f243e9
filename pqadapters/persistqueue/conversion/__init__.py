"""What persist-queue has written becomes a store of ours, in place or elsewhere; the original is kept.

Payloads are moved as bytes. Nothing is unpickled on the way, but by a serializer of the program's own that it has
chosen itself.
"""

from .chunks import guess
from .databases import convert_database, is_theirs, look_at_database, move_database
from .directories import convert_directory, is_file_queue, look_at_directory, move_directory
from .report import Part, Progress, Report

__all__ = [
    "Part",
    "Progress",
    "Report",
    "convert_database",
    "convert_directory",
    "guess",
    "is_file_queue",
    "is_theirs",
    "look_at_database",
    "look_at_directory",
    "move_database",
    "move_directory",
]
