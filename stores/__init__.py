"""Asynchronous key-value stores with one interface over many backends.

    from stores import MemoryStore

    async with MemoryStore() as store:
        await store.put("user:1", {"name": "Ada"}, collection="users", ttl=3600)
        value = await store.get("user:1", collection="users")

Every public name (`__init__.pyi` lists them) is imported when it is first asked for, so that a driver is loaded only with the
store that needs it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
