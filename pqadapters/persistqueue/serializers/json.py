"""The serializer `json` of pqadapters under persist-queue's name for it: see `pqadapters.serializers.json`."""

from ...serializers.json import dump, dumps, load, loads

__all__ = ["dump", "dumps", "load", "loads"]
