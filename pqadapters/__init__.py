"""Durable drop-ins for the standard library: the import changes, the code stays.

`pqadapters.stdlib.queue` mirrors `queue`; what was acknowledged survives SIGKILL, power loss, a full disk and a
damaged file. See README.md for what is promised, and what is not.
"""

from .errors import NotDurableWarning, PqadaptersError, StoreError, StoreLocked
from .stdlib.pdict import PDict

__all__ = ["NotDurableWarning", "PDict", "PqadaptersError", "StoreError", "StoreLocked", "__version__"]
__version__ = "0.1.0"
