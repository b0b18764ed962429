"""Which models and versions a store has, and the sentences about what it has not."""

from anoean_stream.detector.bundle import MAX_BYTES
from anoean_stream.errors import ModelNotFoundError
from anoean_stream.registry.layout import (
    MANIFEST,
    check_name,
    is_name,
    is_version,
    version_folder,
)
from anoean_stream.registry.store import Store, open_store


class Inventory:
    """The models of one store: the ground on which `Registry` stands.

    Parameters
    ----------
    url : str
        Folder or URL. Nothing is read until a method is called.
    """

    def __init__(self, url: str) -> None:
        self._store = open_store(url)
        self.url = self._store.url
        """For messages: without user and password."""

    @property
    def store(self) -> Store:
        """Where its files lie: for what is kept beside the versions."""
        return self._store

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

    def files(self, name: str, version: str) -> list[str]:
        """Return the names of the files directly in a version: the bundle, report, model card."""
        return self._store.children(version_folder(name, version))

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
                f"no model {name!r} in registry {self.url}; it has: {listed(self.models())}; "
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
                f"it has: {listed(whole)}"
            )
        return ModelNotFoundError(message)

    def _no_such_alias(self, name: str, alias: str, *, known: list[str]) -> ModelNotFoundError:
        if not self._numbers(name):
            return self._no_such_model(name)
        message = (
            f"no alias {alias!r} of model {name!r} in registry {self.url}; it has: "
            f"{listed(known)}; set it with `anoean models promote {name} VERSION --alias {alias}`"
        )
        return ModelNotFoundError(message)


def listed(names: list[str]) -> str:
    """Return names as a sentence shows them."""
    return ", ".join(names) or "none"
