"""Aliases: which version is used, which were before it, and the way back.

Every move compares and writes: of two at once one succeeds, and the other is told
(`Store.exchange`; docs/registry.md says which stores leave a window).
"""

import getpass
import os
import socket
from datetime import UTC, datetime, timedelta

from anoean_stream.errors import ConflictError, ModelNotFoundError, RegistryError, brief
from anoean_stream.records.times import rfc3339
from anoean_stream.registry.inventory import Inventory, listed
from anoean_stream.registry.layout import (
    ALIAS_MAX_BYTES,
    CHAMPION,
    PREVIOUS,
    AliasRecord,
    alias_path,
    check_name,
    is_alias,
    is_version,
)


class Aliases(Inventory):
    """The aliases of the models of one store."""

    def aliases(self, name: str) -> dict[str, str]:
        """Return the version that each alias of a model names; empty for a model without any."""
        check_name(name)
        found = {}
        for file in self._store.children(f"{name}/aliases"):
            alias = file.removesuffix(".json")
            if alias != file and is_alias(alias):
                found[alias] = self.alias_version(name, alias)
        return found

    def alias_version(self, name: str, alias: str) -> str:
        """Return the version that an alias names.

        Raises
        ------
        ModelNotFoundError
            When there is no such alias.
        """
        return self.alias_record(name, alias).version

    def alias_record(self, name: str, alias: str) -> AliasRecord:
        """Return an alias with when and by whom it was moved; reads one small file.

        Raises
        ------
        ModelNotFoundError
            When there is no such alias.
        RegistryError
            When its file cannot be read or understood.
        """
        path = alias_path(name, alias)
        try:
            data = self._store.read(path, max_bytes=ALIAS_MAX_BYTES)
        except FileNotFoundError as error:
            raise self._no_such_alias(name, alias, known=list(self.aliases(name))) from error
        try:
            return AliasRecord.from_json(data)
        except ValueError as error:
            how = "--force --reason TEXT" if alias == CHAMPION else f"--alias {alias}"
            message = (
                f"{self.url.rstrip('/')}/{path} is no alias file ({brief(error)}); expected JSON such as "
                f'{{"version": "3"}}; mend it with `anoean models promote {name} VERSION '
                f"{how}`"
            )
            raise RegistryError(message) from error

    def resolve(self, name: str, ref: str) -> str:
        """Return the version that a version number or an alias stands for.

        Parameters
        ----------
        name : str
            Name of the model.
        ref : str
            A number (``"3"``) or an alias (``"champion"``).

        Raises
        ------
        ModelNotFoundError
            When there is no such model, version or alias.
        """
        check_name(name)
        if is_version(ref):
            if not self._is_whole(name, int(ref)):
                raise self._no_such_version(name, ref)
            return ref
        if not is_alias(ref):
            message = (
                f"{ref!r} is neither a version nor an alias of model {name!r}; "
                f"expected a number such as 3 or an alias such as {CHAMPION}"
            )
            raise ModelNotFoundError(message)
        return self.alias_version(name, ref)

    def set_alias(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        by: str | None = None,
        reason: str = "",
        if_version: str | None = None,
    ) -> str | None:
        """Let an alias name a version, in one step for every reader.

        Moving the champion also lets `PREVIOUS` name the old one. A version that was held back by
        an automatic roll back is free again: this is what a person wants.

        Parameters
        ----------
        name : str
            Name of the model.
        alias : str
            The alias; a new one is created.
        version : str
            Number of a version that exists.
        by : str, optional
            Who moves it; ``user@host`` of this process if left out.
        reason : str
            Why, in one line; shortened to 500 characters.
        if_version : str, optional
            Move it only if it names this version now.

        Returns
        -------
        str or None
            The version it named before.

        Raises
        ------
        ModelNotFoundError
            When there is no such version.
        ConflictError
            When somebody else moved it meanwhile, or it does not name `if_version`.
        RegistryError
            When the store cannot be written.
        """
        path = alias_path(name, alias)
        if not (is_version(version) and self._is_whole(name, int(version))):
            raise self._no_such_version(name, version)
        found, before = self._read_alias(path)
        self._check_names(name, alias, before, if_version)
        record = AliasRecord(
            version,
            _now(),
            by or who_am_i(),
            reason[:500],
            history=() if before is None else before.history_after(version),
            held={} if before is None else _still_held(before, free=version),
        )
        self._exchange(name, alias, found, record)
        if not self._is_whole(name, int(version)):
            self._take_back(name, alias, record, before)
        if alias == CHAMPION and before is not None and before.version != version:
            self._settle_previous(name)
        return None if before is None else before.version

    def roll_back(
        self,
        name: str,
        *,
        by: str | None = None,
        reason: str = "",
        if_version: str | None = None,
        hold_down_s: float = 0.0,
    ) -> tuple[str, str]:
        """Let `CHAMPION` name the version that it named before, in one step for every reader.

        A second roll back goes one further, never to what was rolled back.

        Parameters
        ----------
        name : str
            Name of the model.
        by, reason, if_version
            As in `set_alias`.
        hold_down_s : float
            Seconds in which no worker takes the version that is left; 0 does not hold it back.

        Returns
        -------
        tuple of str
            The version that was left, and the one that is champion now.

        Raises
        ------
        ModelNotFoundError
            When there is no champion, or none before it that still exists.
        ConflictError
            When somebody else moved it meanwhile, or it does not name `if_version`.
        """
        found, before = self._read_alias(alias_path(name, CHAMPION))
        if before is None:
            raise self._no_such_alias(name, CHAMPION, known=list(self.aliases(name)))
        self._check_names(name, CHAMPION, before, if_version)
        earlier = before.history or self._previous_of(name, before.version)
        whole = [version for version in earlier if self._is_whole(name, int(version))]
        if not whole:
            message = (
                f"model {name!r} has no version to roll back to: {CHAMPION} names {before.version} and "
                f"named no other that still exists; choose one of {listed(self.version_numbers(name))} "
                f"with `anoean models promote {name} VERSION --force --reason ...`"
            )
            raise ModelNotFoundError(message)
        target = whole[0]
        held = _still_held(before, free=target)
        if hold_down_s > 0:
            until = datetime.now(UTC) + timedelta(seconds=hold_down_s)
            held[before.version] = rfc3339(until)
        record = AliasRecord(
            target,
            _now(),
            by or who_am_i(),
            reason[:500],
            history=earlier[earlier.index(target) + 1 :],
            held=held,
        )
        self._exchange(name, CHAMPION, found, record)
        self._settle_previous(name)
        return before.version, target

    def remove_alias(self, name: str, alias: str) -> str | None:
        """Remove an alias, and return the version that it named; None when there was none.

        Raises
        ------
        RegistryError
            For the champion, without which no worker starts.
        """
        if alias == CHAMPION:
            message = f"{CHAMPION} cannot be removed: workers serve it; promote another version"
            raise RegistryError(message)
        before = self._read_alias(alias_path(name, alias))[1]
        self._store.remove(alias_path(name, alias))
        return None if before is None else before.version

    def _check_names(
        self, name: str, alias: str, before: AliasRecord | None, if_version: str | None
    ) -> None:
        seen = None if before is None else before.version
        if if_version is not None and seen != if_version:
            message = (
                f"{name}@{alias} names version {seen}, not {if_version}: somebody moved it meanwhile; "
                f"look at `anoean models list {name}`, then decide again"
            )
            raise ConflictError(message)

    def _exchange(self, name: str, alias: str, found: bytes | None, record: AliasRecord) -> None:
        if not self._store.exchange(alias_path(name, alias), record.to_json(), expected=found):
            now = self._read_alias(alias_path(name, alias))[1]
            message = (
                f"{name}@{alias} was moved by {now.updated_by if now else 'somebody'} to version "
                f"{now.version if now else None} meanwhile; look at `anoean models list {name}`, then "
                "decide again"
            )
            raise ConflictError(message)

    def _take_back(
        self, name: str, alias: str, record: AliasRecord, before: AliasRecord | None
    ) -> None:
        """Undo a move to a version that retention removed between our look and our write."""
        path = alias_path(name, alias)
        if before is None:
            self._store.remove(path)
        else:
            self._store.exchange(path, before.to_json(), expected=record.to_json())
        message = (
            f"version {record.version} of model {name!r} was removed (`anoean models gc`) while "
            f"{name}@{alias} was moved to it; the alias is as it was"
        )
        raise ConflictError(message)

    def _settle_previous(self, name: str) -> None:
        """Let `PREVIOUS` name what the champion named before; whoever moved it last, writes last.

        A crash before this leaves `PREVIOUS` one move behind, until the next move. A roll back
        does not mind: it goes by the champion's own history.
        """
        path, settled = alias_path(name, CHAMPION), None
        while (now := self._read_alias(path)) != settled:
            settled = now
            record = now[1]
            if record is None:
                return
            if record.history:
                previous = AliasRecord(
                    record.history[0], record.updated_at, record.updated_by, record.reason
                )
                self._store.replace(alias_path(name, PREVIOUS), previous.to_json())
            else:
                self._store.remove(alias_path(name, PREVIOUS))

    def _previous_of(self, name: str, version: str) -> tuple[str, ...]:
        """Return what `PREVIOUS` names, for a champion that was written without a history."""
        previous = self._read_alias(alias_path(name, PREVIOUS))[1]
        return () if previous is None or previous.version == version else (previous.version,)

    def _read_alias(self, path: str) -> tuple[bytes | None, AliasRecord | None]:
        """Return an alias file's bytes and content; a broken one has none, it is mended by writing."""
        try:
            data = self._store.read(path, max_bytes=ALIAS_MAX_BYTES)
        except FileNotFoundError:
            return None, None
        try:
            return data, AliasRecord.from_json(data)
        except ValueError:
            return data, None


def who_am_i() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # a container's user often has no name
    return f"{user}@{socket.gethostname()}"


def _still_held(before: AliasRecord, *, free: str) -> dict[str, str]:
    now = _now()
    return {one: until for one, until in before.held.items() if until > now and one != free}


def _now() -> str:
    return rfc3339(datetime.now(UTC))
