"""Which store a URL names.

::

    models, file:///srv/models      LocalStore     a folder
    s3://bucket/models              S3Store        S3 and what speaks its protocol
    mlflow+https://host:5000        MlflowStore    the model registry of an MLflow server
    memory://, gs://, abfs://, ...  ObjectStore    whatever fsspec reaches
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from anoean_stream.errors import RegistryError
from anoean_stream.registry.localstore import LocalStore
from anoean_stream.registry.objectstore import ObjectStore
from anoean_stream.registry.promises import Store

__all__ = ["LocalStore", "ObjectStore", "Store", "open_store"]

_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""user:password of a URL; messages and logs do not show it."""

_PACKAGES: Final[Mapping[str, str]] = {
    "s3": "'anoean-stream[s3]'",
    "s3a": "'anoean-stream[s3]'",
    "mlflow+http": "'anoean-stream[mlflow]'",
    "mlflow+https": "'anoean-stream[mlflow]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "hdfs": "pyarrow",
    "webhdfs": "requests",
    "http": "aiohttp",
    "https": "aiohttp",
}
"""What to install for each protocol, as far as people ask for it."""


def open_store(url: str) -> Store:
    """Return the store that a URL names; nothing is read or written yet.

    Parameters
    ----------
    url : str
        A folder, relative or absolute, ``s3://bucket/prefix``, ``mlflow+https://host:port``, or
        another fsspec URL (``file://``, ``memory://``, ``gs://``).

    Raises
    ------
    RegistryError
        When the protocol is unknown, the URL is none, or the package for it is not installed.
    """
    shown = _LOGIN.sub("***", url)
    protocol, separator, _ = url.partition("://")
    try:
        if separator and protocol in {"s3", "s3a"}:
            from anoean_stream.registry.s3store import S3Store

            return S3Store(url, shown=shown)
        if separator and protocol in {"mlflow+http", "mlflow+https"}:
            from anoean_stream.registry.mlflowstore import MlflowStore

            return MlflowStore(url, shown=shown)
        filesystem, root = url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(protocol, f"the fsspec implementation of {protocol}")
        message = (
            f"registry.url is {shown!r}, but this installation cannot read {protocol}:// ({error}); "
            f"install it with: pip install {package}"
        )
        raise RegistryError(message) from error
    except ValueError as error:
        message = (
            f"registry.url is {shown!r}: {error}; expected a folder or a URL such as "
            f"file:///srv/models, memory://models, s3://bucket/models or mlflow+https://host:5000"
        )
        raise RegistryError(message) from error
    if isinstance(filesystem, LocalFileSystem):
        return LocalStore(Path(root), url=shown)
    return ObjectStore(filesystem, root, url=shown)
