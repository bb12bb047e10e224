"""What the stores on AWS share: a service's client, and what its errors mean.

Rules: importing botocore's models and reading the user's AWS files takes a tenth of a second, so a client is made in a thread;
the models are read once for all stores. A client holds a bounded pool of connections, waits a bounded time, and repeats a
request that failed on the way at most twice. Which error it was, botocore tells by a code, so a ClientError is first turned
into one of the causes below, which the table `ERRORS` knows.
"""

from __future__ import annotations

import asyncio
import platform
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import aiobotocore
import aiohttp
from aiobotocore.client import AioBaseClient
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointProviderError,
    InvalidConfigError,
    InvalidRegionError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    ValidationError,
)
from botocore.loaders import Loader, create_loader

from stores.backends.aws_session import RedirectedError, Session
from stores.backends.certificates import check_files
from stores.errors import (
    BaseKeyValueError,
    Fault,
    InvalidKeyError,
    KeyValueOperationError,
    ReadOnlyError,
    StoreConnectionError,
    UnsupportedError,
    ValueTooLargeError,
)
from stores.faults import Faults

__all__ = [
    "ERRORS",
    "FAULTS",
    "OVERLOADED",
    "AwsClient",
    "Backoff",
    "cause_of",
    "has_code",
    "is_throttled",
    "refuses_credentials",
    "was_repeated",
]

TOTAL_ATTEMPTS: Final = 3

USER_AGENT: Final = f"aiobotocore/{aiobotocore.__version__} Python/{platform.python_version()}"
"""Botocore's own is put together anew twice for each request, which is a tenth of its work."""

BAD_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
ELSEWHERE: Final = frozenset(
    {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "InvalidRegionError", "PermanentRedirect"}
)
DENIED: Final = frozenset({"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "MethodNotAllowed"})
TOO_LARGE: Final = frozenset({"EntityTooLarge", "ItemCollectionSizeLimitExceededException", "MaxMessageLengthExceeded"})
BAD_NAME: Final = frozenset({"InvalidURI", "KeyTooLong", "KeyTooLongError"})
THROTTLED: Final = ("ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException")
"""Nothing at all was done."""
NOT_THERE: Final = frozenset({"501", "NotImplemented"})
OVERLOADED: Final = frozenset(
    {
        "InternalError",
        "LimitExceededException",
        "OperationAborted",
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequestsException",
        "TransactionConflictException",
        *THROTTLED,
    }
)
"""What passes. Of the batches that S3 answers item by item, some items may fail so."""
WRITES: Final = ("BatchWrite", "Create", "Delete", "Put", "Update")
SERVER_TROUBLE: Final = 500
BUSY: Final = "The service is busy, or this is more than it was set up for: try again later."


class _Cause(Exception):  # noqa: N818 - never raised
    """What a ClientError means."""


class _BadCredentials(_Cause):
    pass


class _Denied(_Cause):
    pass


class _Unreadable(_Cause):
    pass


class _Elsewhere(_Cause):
    pass


class _Strange(_Cause):
    pass


class _TooLarge(_Cause):
    pass


class _BadName(_Cause):
    pass


class _NotThere(_Cause):
    pass


class _Unavailable(_Cause):
    pass


class _Refused(_Cause):
    pass


ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    _BadCredentials: StoreConnectionError,
    _Denied: ReadOnlyError,
    _Unreadable: KeyValueOperationError,
    _Elsewhere: KeyValueOperationError,
    _Strange: KeyValueOperationError,
    _TooLarge: ValueTooLargeError,
    _BadName: InvalidKeyError,
    _NotThere: UnsupportedError,
    _Unavailable: StoreConnectionError,
    _Refused: KeyValueOperationError,
    BotoCoreError: StoreConnectionError,
    ParamValidationError: KeyValueOperationError,
    ValidationError: KeyValueOperationError,
    InvalidConfigError: KeyValueOperationError,
    EndpointProviderError: KeyValueOperationError,
    aiohttp.ClientError: StoreConnectionError,
    OSError: StoreConnectionError,
}
"""What the driver's exceptions become, once `cause_of` has looked at them."""

FAULTS: Final[Faults] = {
    _BadCredentials: Fault.CREDENTIALS,
    CredentialRetrievalError: Fault.CREDENTIALS,
    NoAuthTokenError: Fault.CREDENTIALS,
    NoCredentialsError: Fault.CREDENTIALS,
    PartialCredentialsError: Fault.CREDENTIALS,
    ProfileNotFound: Fault.CREDENTIALS,
    SSOError: Fault.CREDENTIALS,
    TokenRetrievalError: Fault.CREDENTIALS,
    _Denied: Fault.RIGHT,
    _Unreadable: Fault.RIGHT,
    _Elsewhere: Fault.REGION,
    _Strange: Fault.STRANGER,
    InvalidRegionError: Fault.REGION,
    NoRegionError: Fault.REGION,
    RedirectedError: Fault.STRANGER,
    aiohttp.ServerDisconnectedError: Fault.STRANGER,
    aiohttp.ClientResponseError: Fault.STRANGER,
}
"""What they tell of a connection."""


BY_CODE: Final[Sequence[tuple[frozenset[str], type[_Cause], str]]] = (
    (
        BAD_CREDENTIALS,
        _BadCredentials,
        "Check the access key, the secret key, the session token or the profile, and the clock.",
    ),
    (ELSEWHERE, _Elsewhere, "It lies in another region."),
    (TOO_LARGE, _TooLarge, ""),
    (BAD_NAME, _BadName, ""),
    (NOT_THERE, _NotThere, "The server does not have all of this service, such as writes on a condition."),
    (OVERLOADED, _Unavailable, BUSY),
)
"""Codes, what they mean, and advice."""


def cause_of(exc: BaseException) -> BaseException:
    """What a ClientError means, with advice; any other exception as it is."""
    if not isinstance(exc, ClientError):
        return exc
    code, told = _code(exc), f"{str(exc).rstrip('. ')}."
    operation = str(getattr(exc, "operation_name", None))
    for codes, cause, advice in BY_CODE:
        if code in codes:
            return cause(f"{told} {advice}".rstrip())
    if code in DENIED:
        if operation.startswith(WRITES):
            return _Denied(f"{told} These credentials may not write here.")
        return _Unreadable(f"{told} These credentials may not read here.")
    if "size has exceeded" in told or "size to update has exceeded" in told:
        return _TooLarge(told)
    if _metadata(exc).get("HTTPStatusCode", 0) >= SERVER_TROUBLE:
        return _Unavailable(f"{told} {BUSY}")
    if code.isdigit() and not operation.startswith("Head"):  # a status, for want of an error of AWS's
        return _Strange(told)
    return _Refused(told)


def has_code(exc: ClientError, *codes: str) -> bool:
    """Whether the service refused with one of the codes."""
    return _code(exc) in codes


def refuses_credentials(exc: ClientError) -> bool:
    """Whether no request at all would be answered (a single right that is missing is something else)."""
    return _code(exc) in BAD_CREDENTIALS


def is_throttled(exc: ClientError) -> bool:
    """Whether nothing was done because this was too much at once."""
    return _code(exc) in THROTTLED


def was_repeated(exc: ClientError) -> bool:
    """Whether an earlier attempt got lost on the way, so that it may have taken effect before this answer."""
    return bool(_metadata(exc).get("RetryAttempts"))


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def _metadata(exc: ClientError) -> dict[str, Any]:
    found: dict[str, Any] = exc.response.get("ResponseMetadata", {})
    return found


class Backoff:
    """Pauses that grow, at random up to a bound, while nothing gets done."""

    def __init__(self, *, first: float = 0.05, longest: float = 2.0, attempts: int = 10) -> None:
        """Choose the bounds: seconds of the first and the longest pause, and pauses without progress."""
        self._first = first
        self._longest = longest
        self._attempts = attempts
        self._fruitless = 0

    async def pause(self, *, progress: bool) -> bool:
        """Wait; False when it is time to give up."""
        self._fruitless = 0 if progress else self._fruitless + 1
        if self._fruitless >= self._attempts:
            return False
        await asyncio.sleep(random.random() * min(self._longest, self._first * 2**self._fruitless))
        return True


@cache
def _loader(search_path: str | None) -> Loader:
    return create_loader(search_path)


class AwsClient:
    """The client of one service: the caller's, or one that is made when the store opens."""

    def __init__(
        self,
        service: str,
        given: AioBaseClient | None,
        *,
        profile_name: str | None,
        ca_bundle: str | None,
        max_connections: int,
        connect_timeout: float,
        read_timeout: float,
        **settings: str | None,
    ) -> None:
        """Keep what a client is made from.

        Args:
            service: botocore's name of it.
            given: the caller's client, which is used as it is and stays open.
            profile_name: of the user's AWS files.
            ca_bundle: path of the certificates to trust.
            max_connections: connections that are open at once.
            connect_timeout: seconds.
            read_timeout: seconds without a byte of the answer.
            settings: `region_name`, `endpoint_url` and credentials, as botocore's `create_client` takes them.
        """
        self._service = service
        self._given = given
        self._profile_name = profile_name
        self._ca_bundle = ca_bundle
        self._config = AioConfig(
            http_session_cls=Session,
            max_pool_connections=max_connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent=USER_AGENT,
        )
        self._settings = settings
        self._opened: AioBaseClient | None = given
        self.session: Session | None = None
        """The connections of the client that was made here."""

    @property
    def opened(self) -> Any:
        """The client, between `open` and `close`. Its operations have no types."""
        return self._opened

    @property
    def endpoint(self) -> str:
        """Where the service is, for a person: scheme, host and port, or the service's name and region."""
        meta = None if self._opened is None else self._opened.meta
        url = self._settings.get("endpoint_url") or (meta.endpoint_url if meta is not None and self._given else None)
        if url:
            parts = urlsplit(url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        region = self._settings.get("region_name") or (meta.region_name if meta is not None else None)
        return f"{self._service}://{region}" if region else f"{self._service}:/"

    async def open(self) -> None:
        """Make the client, unless there is one. It connects at its first request."""
        if self._opened is None:
            await asyncio.to_thread(check_files, self._ca_bundle)
            made = await asyncio.to_thread(self._make)  # which, when this is cancelled, goes on beside the next one
            self._opened = await made.__aenter__()
            self.session = made._endpoint.http_session  # noqa: SLF001 - it has no public name

    async def close(self) -> None:
        """Close the client, unless it is the caller's."""
        if self._given is None and self._opened is not None:
            made, self._opened = self._opened, None
            await made.close()

    def _make(self) -> AioBaseClient:
        session = AioSession(profile=self._profile_name)
        session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        making = session._create_client(  # noqa: SLF001 - its public form would enter the client in this thread's loop
            self._service, config=self._config, verify=self._ca_bundle, **self._settings
        )
        return asyncio.run(making)
