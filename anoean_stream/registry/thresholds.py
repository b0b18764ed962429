"""The threshold that a person asked for, kept beside the model's versions with those before it."""

import msgspec

from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import ConflictError, ModelNotFoundError, RegistryError, brief
from anoean_stream.registry.inventory import Inventory
from anoean_stream.registry.layout import HISTORY_MAX, THRESHOLD_MAX_BYTES, threshold_path


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


class Thresholds(Inventory):
    """The thresholds of the models of one store."""

    def threshold(self, name: str) -> ThresholdFile:
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

    def _read_threshold(self, name: str) -> tuple[bytes | None, ThresholdFile]:
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

    def _write_threshold(self, name: str, found: bytes | None, file: ThresholdFile) -> None:
        data = msgspec.json.format(msgspec.json.encode(file), indent=2)
        if not self._store.exchange(threshold_path(name), data, expected=found):
            message = f"the threshold of model {name!r} was set by somebody else meanwhile; look at it with `anoean threshold show`, then set it again"
            raise ConflictError(message)
