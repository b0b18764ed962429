"""What a registry asks of the place where its files lie.

A store knows no models, only files by path. `Registry` builds on four promises:

* a numbered folder appears whole or not at all, and no number is given twice (`Store.add_numbered`),
* a small file is replaced in one step (`Store.replace`),
* a small file is replaced only if it still is what the writer read (`Store.exchange`); how far each
  kind of store can promise that is in its docstring, and in docs/registry.md,
* no call blocks for minutes: a store that does not answer is an error after `CONNECT_TIMEOUT_S` and
  `READ_TIMEOUT_S`, times one and `RETRIES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Protocol

from anoean_stream.errors import RegistryError
from anoean_stream.registry.layout import is_version

HIDDEN: Final = "."
"""Names that begin so are ours while we write, and never shown."""

CONNECT_TIMEOUT_S: Final = 5.0
"""Seconds until a server that does not take the connection is given up. Below 1 a distant one looks
dead; a worker polls in a thread, so 5 cost it nothing."""

READ_TIMEOUT_S: Final = 10.0
"""Seconds in which a server must have answered. A busy MLflow takes up to 3 for one small request."""

RETRIES: Final = 1
"""Further attempts of a request that may be repeated. Polls and people repeat anyway."""

UPLOAD_TIMEOUT_S: Final = 120.0
"""Seconds for one whole request with the data of a file: 64 MiB on a line of 5 Mbit/s."""

_ATTEMPTS: Final = 100
"""Publishers that may be faster than us in a row before we give up. Each one costs a listing;
ten at once need ten at most, so more than this is a store that does not show what was written."""


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What a store knows of a folder.

    Parameters
    ----------
    size_bytes : int
        Of all files in it together.
    written_at : datetime or None
        When a file in it was last written, by the store's clock; None when it cannot be known.
    """

    size_bytes: int
    written_at: datetime | None


class Store(Protocol):
    """Files by path; paths use ``/`` and are relative to the registry's root.

    Calls block on disk or network; any thread may make them. What fails is a RegistryError with
    the address, the cause and what to do.
    """

    url: str
    """For messages: without user and password."""

    exchanges_atomically: ClassVar[bool]
    """Whether `exchange` of two processes at once lets exactly one succeed."""

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there; ``""`` asks for the root."""

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; none when there is no such folder."""

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there."""

    def add_numbered(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        """Write files as a folder below this one, whole or not at all, and return its number.

        Numbers count up from 1. A reader that waits for the file `last` sees all of them.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in one step: a reader sees the old content or the new."""

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Write a file in one step if its content is the expected one; None: if there is none.

        False, and nothing is written, when it is another: of two writers that expect the same, one
        succeeds, as far as `exchanges_atomically`.
        """

    def remove(self, path: str) -> bool:
        """Remove a file; False when there was none."""

    def facts(self, folder: str) -> FolderFacts:
        """Return size and time of a folder; 0 bytes and None when there is no such folder."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it; nothing happens when there is none."""

    def tidy(self, folder: str, *, before: datetime) -> int:
        """Remove what writers that died before that moment left behind; return the bytes freed."""


class CreatesFolders(Protocol):
    """A store in which the writer chooses the number of a folder."""

    url: str

    def children(self, folder: str) -> list[str]:
        """As `Store.children`."""

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Write a new folder, whole or not at all; False when the name is taken."""


def next_numbered(
    store: CreatesFolders, folder: str, files: Mapping[str, bytes], *, last: str
) -> int:
    """Create the next numbered folder, and return its number.

    A listing may be behind: a number that turns out to be taken is passed over.

    Raises
    ------
    RegistryError
        When the store cannot be written, or a hundred numbers in a row were taken.
    """
    number = 0
    for _ in range(_ATTEMPTS):
        taken = [int(name) for name in store.children(folder) if is_version(name)]
        number = max([number, *taken]) + 1
        if store.create_folder(f"{folder}/{number}", files, last=last):
            return number
    message = (
        f"registry {store.url}: {_ATTEMPTS} numbers up to {number} were taken while publishing to "
        f"{folder}; is another program publishing in a loop?"
    )
    raise RegistryError(message)


def ordered(files: Mapping[str, bytes], last: str) -> list[str]:
    """Return the names of files in the order in which they are written."""
    return sorted(files, key=lambda name: (name == last, name))
