"""The serializer `msgpack` of pqadapters under persist-queue's name for it: see `pqadapters.serializers.msgpack`."""

from ...serializers.msgpack import dump, dumps, load, loads

__all__ = ["dump", "dumps", "load", "loads"]
