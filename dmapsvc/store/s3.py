"""How S3 is reached, by whoever reads or writes it: the library, the addresses, what a fork breaks.

Credentials, region and endpoint are those of the environment, by the usual names: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; AWS_SKIP_SIGNATURE=true for a bucket that all may read.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dmapsvc.errors import BadInput

if TYPE_CHECKING:
    from obstore.store import S3Store

SILENCE = timedelta(seconds=60)  # the longest without a byte, as `Client`'s
WHOLE = timedelta(hours=12)  # for one file; without it obstore ends every download after 30 s

_first_process: int | None = None


def is_bucket(location: object) -> bool:
    """Whether `location` is an s3:// URL."""
    return isinstance(location, str) and location.startswith("s3://")


def split_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of 's3://bucket/some/prefix'; raises BadInput for what is none."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise BadInput(url, "wanted s3://bucket/prefix")
    return parts.netloc, parts.path.strip("/")


def address_of(bucket: str, prefix: str) -> str:
    """What tells this place from every other, the endpoint included."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    return f"{endpoint} s3://{bucket}/{prefix}".strip().rstrip("/")


def load_obstore(url: str) -> Any:
    """The library `obstore`. Raises BadInput if it is not installed, and in a process that was forked from
    one that used it: its threads do not come along, and a call would hang.
    """
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise BadInput(url, "reading S3 needs obstore", "Install dmapsvc[s3]") from None
    _check_process(url)
    return obstore


def connect(
    bucket: str,
    prefix: str,
    *,
    timeout: timedelta = WHOLE,
    read_timeout: timedelta | None = None,
    retries: int = 0,
) -> S3Store:
    """What calls of `obstore` take for the objects below `prefix`; `timeout` is for a whole request,
    `read_timeout` for a wait without a byte. Nothing is asked yet.
    """
    from obstore.store import S3Store

    options: dict[str, Any] = {"allow_http": True, "timeout": timeout}
    if read_timeout is not None:
        options["read_timeout"] = read_timeout
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options=options,  # type: ignore[arg-type]  # a TypedDict
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=30)},
    )


def _check_process(url: str) -> None:
    global _first_process
    if _first_process is None:
        _first_process = os.getpid()
    # a spawned process imports this module anew
    if _first_process != os.getpid():
        raise BadInput(
            f"{url} in a forked process",
            "what reads S3 does not work after a fork",
            'Give the DataLoader multiprocessing_context="spawn", or no workers: PatchLoader has threads',
        )
