"""Versions that never change, and aliases that say which of them is used.

A version is there from the moment its manifest is: without one it does not exist. Every call
blocks on disk or network, and may be made from any thread; none changes what another reader holds.
"""

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from anoean_stream.detector.bundle import FILES, MAX_BYTES, Bundle, Manifest, read_bundle
from anoean_stream.detector.confinedfiles import RefusedFileError, read_confined
from anoean_stream.detector.signature import (
    SIGNATURE,
    SIGNATURE_MAX_BYTES,
    SignatureFile,
    TrustedKeys,
    sign_manifest,
)
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import (
    BundleError,
    ConflictError,
    ModelNotFoundError,
    RegistryError,
    SignatureError,
    brief,
)
from anoean_stream.registry.layout import (
    ALIAS_MAX_BYTES,
    CHAMPION,
    HISTORY_MAX,
    MANIFEST,
    PREVIOUS,
    THRESHOLD_MAX_BYTES,
    AliasRecord,
    alias_path,
    check_name,
    is_alias,
    is_name,
    is_version,
    threshold_path,
    version_folder,
)
from anoean_stream.registry.store import Store, open_store
from anoean_stream.settings import RegistrySettings

_PUBLISH_ATTEMPTS: Final = 100
"""Publishers that may be faster than us in a row before we give up. Each one costs a listing;
ten at once need ten at most, so more than this is a store that does not show what was written."""

_PUBLISH_MAX_BYTES: Final = 2**30
"""Bytes of all files of a version together, also report and plots; they are in memory at once."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version, as a listing shows it.

    Parameters
    ----------
    version : str
        Number of the version.
    aliases : tuple of str
        Aliases that name it.
    manifest : Manifest or None
        None when it cannot be read.
    error : str or None
        Why it cannot be read.
    """

    version: str
    aliases: tuple[str, ...]
    manifest: Manifest | None
    error: str | None = None


class Registry:
    """The models of one store.

    Parameters
    ----------
    url : str
        Folder or fsspec URL. Nothing is read until a method is called.
    trusted : TrustedKeys, optional
        `load` returns no bundle that none of these keys signed.

    Raises
    ------
    RegistryError
        When no installed package can open such a URL.

    Examples
    --------
    >>> registry = Registry("memory://registry-docs")
    >>> registry.models()
    []
    """

    def __init__(self, url: str, *, trusted: TrustedKeys | None = None) -> None:
        self._store = open_store(url)
        self._trusted = trusted
        self.url = self._store.url
        """For messages: without user and password."""

    @property
    def store(self) -> Store:
        """Where its files lie: for what is kept beside the versions."""
        return self._store

    @classmethod
    def from_settings(cls, settings: RegistrySettings) -> "Registry":
        """Return the registry of the settings.

        Raises
        ------
        RegistryError
            As the constructor.
        ConfigError
            When a trusted key cannot be read, or the package cryptography is not installed.
        """
        keys = settings.trusted_keys
        return cls(settings.url, trusted=TrustedKeys(keys) if keys else None)

    def exists(self) -> bool:
        """Return whether anything was ever published here."""
        return self._store.exists("")

    def models(self) -> list[str]:
        """Return the names of the models that have a version, sorted."""
        return [name for name in self._store.children("") if is_name(name) and self._numbers(name)]

    def version_numbers(self, name: str) -> list[str]:
        """Return the whole versions of a model, oldest first; one listing and no file is read.

        Raises
        ------
        ModelNotFoundError
            When the model has none.
        """
        whole = [str(number) for number in self._numbers(name) if self._is_whole(name, number)]
        if not whole:
            raise self._no_such_model(name)
        return whole

    def versions(self, name: str) -> list[VersionInfo]:
        """Return every version with its manifest, oldest first; a broken one says why.

        Raises
        ------
        ModelNotFoundError
            When the model has none.
        """
        names_by_version: dict[str, list[str]] = {}
        for alias, version in self.aliases(name).items():
            names_by_version.setdefault(version, []).append(alias)
        infos = []
        for version in self.version_numbers(name):
            aliases = tuple(names_by_version.get(version, ()))
            try:
                infos.append(VersionInfo(version, aliases, self.manifest(name, version)))
            except BundleError as error:
                infos.append(VersionInfo(version, aliases, None, str(error)))
        return infos

    def manifest(self, name: str, version: str) -> Manifest:
        """Return the manifest of a version; the other files are not looked at.

        Raises
        ------
        ModelNotFoundError
            When there is no such version.
        ManifestError
            When the manifest cannot be read.
        """
        data = self._manifest_bytes(name, version)
        return Manifest.from_json(data, origin=self._origin(name, version))

    def files(self, name: str, version: str) -> list[str]:
        """Return the names of the files directly in a version: the bundle, report, model card."""
        return self._store.children(version_folder(name, version))

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
            raise self._no_such_alias(name, alias) from error
        try:
            return AliasRecord.from_json(data)
        except ValueError as error:
            message = (
                f"{self.url.rstrip('/')}/{path} is no alias file ({brief(error)}); expected JSON such as "
                f'{{"version": "3"}}; mend it with `anoean models promote {name} VERSION '
                f"--alias {alias}`"
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

    def load(self, name: str, version: str) -> Bundle:
        """Read and check a version: signature, hashes, format, shapes, finite weights.

        With trusted keys the signature comes first: nothing else is parsed before.

        Parameters
        ----------
        name : str
            Name of the model.
        version : str
            Number of the version.

        Raises
        ------
        ModelNotFoundError
            When there is no such version, or it is not complete yet.
        BundleError
            When a file of it is missing, truncated, changed or unfit; names the file.
        SignatureError
            When there are trusted keys, and none signed this version of this model.
        """
        files = {MANIFEST: self._manifest_bytes(name, version)}
        self._check_signature(files[MANIFEST], name=name, version=version)
        folder = version_folder(name, version)
        for file in FILES:
            if file != MANIFEST:
                try:
                    files[file] = self._store.read(f"{folder}/{file}", max_bytes=MAX_BYTES[file])
                except FileNotFoundError:
                    continue  # read_bundle says which one is missing
        return read_bundle(files, origin=self._origin(name, version))

    def signatures(self, name: str, version: str) -> SignatureFile:
        """Return who claims to have signed a version; an empty one when nobody did.

        Claims: only `signer` checks them, against trusted keys.

        Raises
        ------
        SignatureError
            When manifest.sig is no signature file.
        """
        data = self._signature_bytes(name, version)
        if data is None:
            return SignatureFile()
        return SignatureFile.from_json(data, origin=self._origin(name, version))

    def signer(self, name: str, version: str) -> str | None:
        """Return the name of the trusted key that signed a version; None without trusted keys.

        Raises
        ------
        ModelNotFoundError
            When there is no such version.
        SignatureError
            When there are trusted keys, and none signed this version of this model.
        """
        manifest = self._manifest_bytes(name, version)
        return self._check_signature(manifest, name=name, version=version)

    def sign(self, name: str, version: str, key_file: Path) -> str:
        """Add a signature to a version, and return the name of the key; the version stays as it is.

        Raises
        ------
        ModelNotFoundError
            When there is no such version.
        ConfigError
            When the file is no private key.
        RegistryError
            When the store cannot be written.
        """
        signature = sign_manifest(self._manifest_bytes(name, version), key_file)
        file = self.signatures(name, version).with_signature(signature)
        self._store.replace(f"{version_folder(name, version)}/{SIGNATURE}", file.to_json())
        return signature.key_id

    def publish(self, folder: Path, name: str) -> str:
        """Copy a bundle into the registry as a new version, and return its number.

        The bundle is checked first. Readers see the whole version or none of it, and publishers
        at the same time get different numbers. No alias is moved.

        Parameters
        ----------
        folder : Path
            Folder of a bundle; whatever else lies in it (report, model card) is copied too.
        name : str
            Name of the model; a new one is created.

        Raises
        ------
        BundleError
            When the folder is not a sound bundle.
        RegistryError
            When the store cannot be written, or the folder has links or more than 1 GiB.
        """
        check_name(name)
        files = _files_to_publish(folder)
        read_bundle({file: files[file] for file in FILES if file in files}, origin=str(folder))
        number = 0
        for _ in range(_PUBLISH_ATTEMPTS):
            number = max([number, *self._numbers(name)]) + 1
            if self._store.create_folder(version_folder(name, str(number)), files, last=MANIFEST):
                return str(number)
        message = (
            f"registry {self.url}: {_PUBLISH_ATTEMPTS} numbers up to {number} were taken while "
            f"publishing model {name!r}; is another program publishing in a loop?"
        )
        raise RegistryError(message)

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

        Moving the champion also lets `PREVIOUS` name the old one. That is written first: a crash
        between the two leaves the champion as it was. A version that was held back by an automatic
        roll back is free again: this is what a person wants.

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
            history=() if before is None else _history(before, version),
            held={} if before is None else _still_held(before, free=version),
        )
        if alias == CHAMPION and before is not None and before.version != version:
            self._write_previous(name, before.version, record)
        self._exchange(name, alias, found, record)
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
            raise self._no_such_alias(name, CHAMPION)
        self._check_names(name, CHAMPION, before, if_version)
        earlier = before.history or self._previous_of(name, before.version)
        whole = [version for version in earlier if self._is_whole(name, int(version))]
        if not whole:
            message = (
                f"model {name!r} has no version to roll back to: {CHAMPION} names {before.version} and "
                f"named no other that still exists; choose one of {_listed(self.version_numbers(name))} "
                f"with `anoean models promote {name} VERSION --force --reason ...`"
            )
            raise ModelNotFoundError(message)
        target = whole[0]
        held = _still_held(before, free=target)
        if hold_down_s > 0:
            until = datetime.now(UTC) + timedelta(seconds=hold_down_s)
            held[before.version] = _rfc3339(until)
        record = AliasRecord(
            target,
            _now(),
            by or who_am_i(),
            reason[:500],
            history=earlier[earlier.index(target) + 1 :],
            held=held,
        )
        self._exchange(name, CHAMPION, found, record)
        # Afterwards: a crash in between leaves previous naming what is champion, which does no harm.
        if record.history:
            self._write_previous(name, record.history[0], record)
        else:
            self._store.remove(alias_path(name, PREVIOUS))
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

    def threshold(self, name: str) -> "ThresholdFile":
        """Return the threshold that was asked for, and earlier ones; an empty file when none was.

        Raises
        ------
        RegistryError
            When the file cannot be read or understood.
        """
        return self._read_threshold(name)[1]

    def set_threshold(self, name: str, choice: ThresholdChoice | None) -> ThresholdChoice | None:
        """Ask for a threshold from now on; None for that of settings or model. Return the one before.

        Raises
        ------
        ConflictError
            When somebody else set one meanwhile.
        RegistryError
            When the store cannot be written.
        """
        data, before = self._read_threshold(name)
        self._write_threshold(name, data, before.then(choice))
        return before.choice

    def roll_back_threshold(
        self, name: str
    ) -> tuple[ThresholdChoice | None, ThresholdChoice | None]:
        """Ask for the threshold before the present one again; return the one left, and that.

        Raises
        ------
        ModelNotFoundError
            When none was set before.
        ConflictError
            When somebody else set one meanwhile.
        """
        data, before = self._read_threshold(name)
        if not before.earlier:
            message = (
                f"model {name!r} has no earlier threshold to roll back to; see "
                f"`anoean threshold show`, set one with `anoean threshold set`"
            )
            raise ModelNotFoundError(message)
        after = ThresholdFile(choice=before.earlier[0], earlier=before.earlier[1:])
        self._write_threshold(name, data, after)
        return before.choice, after.choice

    def _read_threshold(self, name: str) -> "tuple[bytes | None, ThresholdFile]":
        path = threshold_path(name)
        try:
            data = self._store.read(path, max_bytes=THRESHOLD_MAX_BYTES)
        except FileNotFoundError:
            return None, ThresholdFile()
        try:
            return data, msgspec.json.decode(data, type=ThresholdFile)
        except (ValueError, RecursionError) as error:
            message = (
                f"{self.url.rstrip('/')}/{path} is no threshold file ({brief(error)}); remove it, then "
                f"set the threshold with `anoean threshold set`"
            )
            raise RegistryError(message) from error

    def _write_threshold(self, name: str, found: bytes | None, file: "ThresholdFile") -> None:
        data = msgspec.json.format(msgspec.json.encode(file), indent=2)
        if not self._store.exchange(threshold_path(name), data, expected=found):
            message = f"the threshold of model {name!r} was set by somebody else meanwhile; look at it with `anoean threshold show`, then set it again"
            raise ConflictError(message)

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

    def _write_previous(self, name: str, version: str, move: AliasRecord) -> None:
        record = AliasRecord(version, move.updated_at, move.updated_by, move.reason)
        self._store.replace(alias_path(name, PREVIOUS), record.to_json())

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

    def _check_signature(self, manifest: bytes, *, name: str, version: str) -> str | None:
        if self._trusted is None:
            return None
        origin = self._origin(name, version)
        signer = self._trusted.check(manifest, self._signature_bytes(name, version), origin=origin)
        signed_name = Manifest.from_json(manifest, origin=origin).name
        if signed_name != name:
            message = (
                f"{origin}: {MANIFEST} was signed for the model {signed_name!r}, not for {name!r}: "
                f"somebody put it into the wrong place; publish it as {signed_name!r}"
            )
            raise SignatureError(message, file=MANIFEST)
        return signer

    def _signature_bytes(self, name: str, version: str) -> bytes | None:
        path = f"{version_folder(name, version)}/{SIGNATURE}"
        try:
            return self._store.read(path, max_bytes=SIGNATURE_MAX_BYTES)
        except FileNotFoundError:
            return None

    def _numbers(self, name: str) -> list[int]:
        """Return every number in use, also of versions that are being written or were never done."""
        check_name(name)
        found = self._store.children(f"{name}/versions")
        return sorted(int(version) for version in found if is_version(version))

    def _is_whole(self, name: str, number: int) -> bool:
        return self._store.exists(f"{version_folder(name, str(number))}/{MANIFEST}")

    def _manifest_bytes(self, name: str, version: str) -> bytes:
        try:
            path = f"{version_folder(name, version)}/{MANIFEST}"
            return self._store.read(path, max_bytes=MAX_BYTES[MANIFEST])
        except FileNotFoundError as error:
            raise self._no_such_version(name, version) from error

    def _origin(self, name: str, version: str) -> str:
        return f"{self.url.rstrip('/')}/{version_folder(name, version)}"

    def _no_such_model(self, name: str) -> ModelNotFoundError:
        if not self.exists():
            message = (
                f"no model {name!r}: there is no registry at {self.url} yet; publish one with "
                f"`anoean train`, or set registry.url to the registry's folder or URL"
            )
        else:
            message = (
                f"no model {name!r} in registry {self.url}; it has: {_listed(self.models())}; "
                f"publish it with `anoean train`, or set model.name"
            )
        return ModelNotFoundError(message)

    def _no_such_version(self, name: str, version: str) -> ModelNotFoundError:
        try:
            whole = self.version_numbers(name)
        except ModelNotFoundError as error:
            if not self._numbers(name):
                return error
            whole = []
        if is_version(version) and int(version) in self._numbers(name):
            message = (
                f"{self._origin(name, version)}/{MANIFEST} is missing: version {version} of model "
                f"{name!r} is still being written, or its publisher died; publish again"
            )
        else:
            message = (
                f"no version {version!r} of model {name!r} in registry {self.url}; "
                f"it has: {_listed(whole)}"
            )
        return ModelNotFoundError(message)

    def _no_such_alias(self, name: str, alias: str) -> ModelNotFoundError:
        if not self._numbers(name):
            return self._no_such_model(name)
        message = (
            f"no alias {alias!r} of model {name!r} in registry {self.url}; it has: "
            f"{_listed(list(self.aliases(name)))}; "
            f"set it with `anoean models promote {name} VERSION --alias {alias}`"
        )
        return ModelNotFoundError(message)


def _files_to_publish(folder: Path) -> dict[str, bytes]:
    """Read a bundle's folder; a link in it could publish what lies elsewhere, so it is refused."""
    files: dict[str, bytes] = {}
    left_bytes = _PUBLISH_MAX_BYTES
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or (path.is_dir() and not path.is_symlink()):
            continue
        name = path.relative_to(folder).as_posix()
        try:
            files[name] = read_confined(folder, name, max_bytes=left_bytes)
        except RefusedFileError as error:
            message = f"{folder} cannot be published: {error}"
            raise RegistryError(message) from error
        left_bytes -= len(files[name])
    return files


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def who_am_i() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # a container's user often has no name
    return f"{user}@{socket.gethostname()}"


class ThresholdFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The threshold that was asked for, and earlier ones, newest first.

    Parameters
    ----------
    choice : ThresholdChoice or None
        None: that of settings or model.
    earlier : tuple of ThresholdChoice or None
        At most `HISTORY_MAX`.
    """

    choice: ThresholdChoice | None = None
    earlier: tuple[ThresholdChoice | None, ...] = ()

    def then(self, choice: ThresholdChoice | None) -> "ThresholdFile":
        """Return the file after another choice."""
        return ThresholdFile(choice, (self.choice, *self.earlier)[:HISTORY_MAX])


def _history(before: AliasRecord, version: str) -> tuple[str, ...]:
    if before.version == version:
        return before.history
    rest = tuple(one for one in before.history if one not in {before.version, version})
    return (before.version, *rest)[:HISTORY_MAX]


def _still_held(before: AliasRecord, *, free: str) -> dict[str, str]:
    now = _now()
    return {one: until for one, until in before.held.items() if until > now and one != free}


def _now() -> str:
    return _rfc3339(datetime.now(UTC))


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
