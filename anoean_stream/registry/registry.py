"""Versions that never change, and aliases that say which of them is used.

A version is there from the moment its manifest is: without one it does not exist. Every call
blocks on disk or network, and may be made from any thread; none changes what another reader holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anoean_stream.detector.bundle import FILES, MAX_BYTES, Bundle, Manifest, read_bundle
from anoean_stream.detector.confinedfiles import read_confined
from anoean_stream.detector.signature import (
    SIGNATURE,
    SIGNATURE_MAX_BYTES,
    SignatureFile,
    TrustedKeys,
    sign_manifest,
)
from anoean_stream.errors import BundleError, RegistryError, SignatureError
from anoean_stream.registry.aliases import Aliases, who_am_i
from anoean_stream.registry.layout import MANIFEST, check_name, version_folder
from anoean_stream.registry.retention import Collection, collect
from anoean_stream.registry.thresholds import ThresholdFile, Thresholds
from anoean_stream.settings import RegistrySettings

__all__ = ["Registry", "ThresholdFile", "VersionInfo", "who_am_i"]

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


class Registry(Aliases, Thresholds):
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
        super().__init__(url)
        self._trusted = trusted

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
        try:
            return read_bundle(files, origin=self._origin(name, version))
        except BundleError as error:
            if not self._is_whole(name, int(version)):  # it was removed while we read
                raise self._no_such_version(name, version) from error
            raise

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
        number = self._store.add_numbered(f"{name}/versions", files, last=MANIFEST)
        return str(number)

    def collect(self, name: str, *, keep: int, dry_run: bool = False) -> Collection:
        """Remove old versions; `anoean_stream.registry.retention.collect` says which are kept.

        Parameters
        ----------
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
            When the store cannot be written.
        """
        return collect(self, self._store, name, keep=keep, dry_run=dry_run)

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


def _files_to_publish(folder: Path) -> dict[str, bytes]:
    """Read a bundle's folder; a link in it could publish what lies elsewhere, so it is refused."""
    files: dict[str, bytes] = {}
    left_bytes = _PUBLISH_MAX_BYTES
    try:
        for path in sorted(folder.rglob("*")):
            if path.name.startswith(".") or (path.is_dir() and not path.is_symlink()):
                continue
            name = path.relative_to(folder).as_posix()
            files[name] = read_confined(folder, name, max_bytes=left_bytes)
            left_bytes -= len(files[name])
    except OSError as error:  # RefusedFileError among them
        message = f"{folder} cannot be published: {error}"
        raise RegistryError(message) from error
    return files
