"""The commands of `python -m pqadapters` that look at stores, and put their dead letters and leftovers right.

Those that look (`ls`, `stats`, `peek`, `dead`) change no byte and disturb nobody who uses the store. They need the
extra `cli`: click and rich.
"""

from .group import main

__all__ = ["main"]
