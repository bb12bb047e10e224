"""TLS to servers that speak none themselves here: the certificate that is named is trusted, a stranger is not."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stores
from stores.errors import StoreSetupError
from tests.faults.tls import tls_in_front
from tests.stores.conftest import CASES, Names, by_name

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("case", [case for case in CASES if case.NAME in ("memcached", "valkey")], ids=by_name)
async def test_tls_with_ones_own_authority(
    case: ModuleType, request: pytest.FixtureRequest, unique_name: str, tmp_path: Path
) -> None:
    make: Any = getattr(stores, case.STORE)
    collection = Names(unique_name).tag
    host, port = request.getfixturevalue(case.SERVER)
    async with tls_in_front(host, port, tmp_path) as secure:
        async with make(host="localhost", port=secure, tls=True, tls_ca_certs=str(tmp_path / "cert.pem")) as store:
            await store.put("k", {"n": 1}, collection=collection)
            assert await store.get("k", collection=collection) == {"n": 1}
            await store.delete("k", collection=collection)
        with pytest.raises(StoreSetupError, match=r"(?i)cert|tls|timed out"):
            await make(host="localhost", port=secure, tls=True, timeout=1).setup()
