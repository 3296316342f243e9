"""The serializer `cbor2` of pqadapters under persist-queue's name for it: see `pqadapters.serializers.cbor2`."""

from ...serializers.cbor2 import dump, dumps, load, loads

__all__ = ["dump", "dumps", "load", "loads"]
