"""Calls and outcomes are pickles: on a server that others may write to they are signed, and what isn't isn't loaded."""

from __future__ import annotations

from ....serializers.signed import SIGNATURE, Seal, seal_for, unsigned
from ....store import Store


class Sealing:
    """Of one executor's store. Raises ValueError where pickles would be loaded that anybody may have put there."""

    def __init__(self, store: Store) -> None:
        self._seal: Seal | None = seal_for(None, hosts=store.capabilities.hosts)
        if self._seal is None and store.capabilities.hosts:
            raise ValueError(unsigned(store.place))

    def close(self, data: bytes) -> bytes:
        """What is stored."""
        return data if self._seal is None else self._seal.sign(data)

    def open(self, stored: bytes) -> bytes:
        """What may be loaded. Raises WrongSignature."""
        return stored if self._seal is None else self._seal.check(stored)

    def peeled(self, stored: bytes) -> bytes:
        """What is to be looked at, and not loaded."""
        return stored if self._seal is None else stored[SIGNATURE:]
