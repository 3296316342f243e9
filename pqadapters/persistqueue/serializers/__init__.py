"""persist-queue's serializers, as modules: `serializers.msgpack` is there once `pqadapters.persistqueue` is imported.

msgpack and cbor2 need the library of that name, which is imported at the first use.
"""

from . import cbor2, json, msgpack, pickle

__all__ = ["cbor2", "json", "msgpack", "pickle"]
