"""The stores: implementations of `pqadapters.store.Store`. Only `pqadapters.opening` imports them."""
