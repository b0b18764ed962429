"""Which versions of a model are kept, and the removal of the others.

A version is hidden first (its manifest goes), then looked up among the aliases once more, then
removed: a reader sees it whole or not at all, and an alias that came to name it meanwhile gets it
back. `Aliases.set_alias` looks the other way round, after its write, so one of the two sees the
other. The highest number stays, whatever it is, so that no number is given twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from anoean_stream.detector.bundle import MAX_BYTES
from anoean_stream.errors import ModelNotFoundError
from anoean_stream.registry.aliases import Aliases
from anoean_stream.registry.layout import CHAMPION, MANIFEST, is_version, version_folder
from anoean_stream.registry.promises import FolderFacts, Store

_WRITING: Final = timedelta(days=1)
"""How long a publisher may take: 1 GiB on 0.1 Mbit/s. Clocks that differ by hours do no harm."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a version, and why.

    Parameters
    ----------
    version : str
        Number of the version.
    why : str
        For a person: why it is kept, or removed.
    size_bytes : int
        Of all its files.
    """

    version: str
    why: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Collection:
    """What was removed of one model, or would be.

    Parameters
    ----------
    removed, kept : tuple of Decision
        Oldest first.
    leftovers_bytes : int
        Freed besides: what writers that died had left behind.
    """

    removed: tuple[Decision, ...]
    kept: tuple[Decision, ...]
    leftovers_bytes: int = 0

    @property
    def freed_bytes(self) -> int:
        """Bytes of everything that was removed."""
        return self.leftovers_bytes + sum(one.size_bytes for one in self.removed)


def collect(
    aliases: Aliases, store: Store, name: str, *, keep: int, dry_run: bool = False
) -> Collection:
    """Remove the versions of a model that nothing needs any more.

    Kept are the newest whole ones, those that an alias names, those that were champion since the
    version to which a roll back goes, numbers that a publisher may still be writing, and the highest
    number.

    Parameters
    ----------
    aliases : Aliases
        The aliases of the registry.
    store : Store
        Its store.
    name : str
        Name of the model.
    keep : int
        Newest whole versions to keep, at least 1.
    dry_run : bool
        Only tell what would be removed.

    Raises
    ------
    ModelNotFoundError
        When the model has no version.
    RegistryError
        When the store cannot be written; what was removed until then stays removed.
    ValueError
        When `keep` is below 1.
    """
    if keep < 1:
        message = f"keep is {keep}, expected at least 1"
        raise ValueError(message)
    whole = aliases.version_numbers(name)
    found = store.children(f"{name}/versions")
    numbers = sorted((one for one in found if is_version(one)), key=int)
    needed = _needed(aliases, name, whole=whole, keep=keep)
    oldest_write = datetime.now(UTC) - _WRITING
    removed, kept = [], []
    for version in numbers:
        facts = store.facts(version_folder(name, version))
        why = needed.get(version)
        if why is None and version not in whole:
            why = _being_written(facts, oldest_write)
        if why is None and version == numbers[-1]:
            why = "the highest number, so that it is not given twice"
        if why is None and not dry_run:
            why = _remove(aliases, store, name, version)
        if why is None:
            reason = "superseded" if version in whole else "its publisher died"
            removed.append(Decision(version, reason, facts.size_bytes))
        else:
            kept.append(Decision(version, why, facts.size_bytes))
    leftovers_bytes = 0
    if not dry_run:
        for folder in (name, f"{name}/aliases", f"{name}/versions"):
            leftovers_bytes += store.tidy(folder, before=oldest_write)
    return Collection(tuple(removed), tuple(kept), leftovers_bytes)


def _needed(aliases: Aliases, name: str, *, whole: list[str], keep: int) -> Mapping[str, str]:
    """Return why a version is needed, for each that is; the first reason counts."""
    needed: dict[str, str] = {}
    for alias, version in sorted(aliases.aliases(name).items()):
        needed[version] = f"{needed[version]}, {alias}" if version in needed else f"alias {alias}"
    for version in _champions(aliases, name, whole):
        needed.setdefault(version, "was champion: where a roll back goes")
    for version in whole[-keep:]:
        needed.setdefault(version, f"one of the newest {keep}")
    return needed


def _champions(aliases: Aliases, name: str, whole: list[str]) -> list[str]:
    """Return the champions before the present one, up to the first to which a roll back can go."""
    try:
        history = aliases.alias_record(name, CHAMPION).history
    except ModelNotFoundError:
        return []
    for place, version in enumerate(history):
        if version in whole:
            return list(history[: place + 1])
    return list(history)


def _being_written(facts: FolderFacts, oldest_write: datetime) -> str | None:
    if facts.written_at is None:
        return "not whole, and the store does not tell since when"
    if facts.written_at >= oldest_write:
        return "not whole: it may still be written"
    return None


def _remove(aliases: Aliases, store: Store, name: str, version: str) -> str | None:
    """Remove a version; return why not, when an alias came to name it."""
    folder = version_folder(name, version)
    manifest = f"{folder}/{MANIFEST}"
    try:
        data = store.read(manifest, max_bytes=MAX_BYTES[MANIFEST])
    except FileNotFoundError:
        data = None
    if data is not None:
        store.remove(manifest)
        named = [alias for alias, one in aliases.aliases(name).items() if one == version]
        if named:
            store.replace(manifest, data)
            return f"alias {', '.join(named)}, moved meanwhile"
    store.remove_folder(folder)
    return None
