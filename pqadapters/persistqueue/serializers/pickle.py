"""The serializer `pickle` of pqadapters under persist-queue's name for it: see `pqadapters.serializers.pickle`."""

from ...serializers.pickle import dump, dumps, load, loads

__all__ = ["dump", "dumps", "load", "loads"]
