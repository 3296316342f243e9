"""Durable drop-ins for the standard library: the import changes, the code stays.

`pqadapters.stdlib.queue` mirrors `queue`; what was acknowledged survives SIGKILL, power loss, a full disk and a
damaged file. See README.md for what is promised, and what is not.
"""

from typing import TYPE_CHECKING, Any

from .errors import NotDurableWarning, PqadaptersError, StoreError, StoreLocked

if TYPE_CHECKING:
    from .stdlib.pdict import PDict
else:

    def __getattr__(name: str) -> Any:
        if name == "PDict":  # a program that has queues alone starts without what mappings need
            from .stdlib.pdict import PDict

            return PDict
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), "PDict"})


__all__ = ["NotDurableWarning", "PDict", "PqadaptersError", "StoreError", "StoreLocked", "__version__"]
__version__ = "0.1.0"
