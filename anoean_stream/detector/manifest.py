"""What a bundle says about itself: two small JSON files that people read too."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from anoean_stream.detector.detector import Detector
from anoean_stream.errors import IntegrityError, ManifestError, brief
from anoean_stream.features.batch import RawBatch

FORMAT_VERSION: Final = 1
"""Raised when an older program could not read a bundle, or would compute something else."""

_ShortText = Annotated[str, Meta(max_length=100)]
"""Names, times, versions: they go into each alert."""

_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

Decode = Callable[[Sequence[bytes]], RawBatch]
"""Turns JSON records into one row each, by the bundle's feature contract."""


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle.

    Parameters
    ----------
    sha256 : str
        Hexadecimal, of the file's bytes.
    size_bytes : int
        Size of the file.
    """

    sha256: _Sha256
    size_bytes: Annotated[int, Meta(ge=0)]

    @classmethod
    def of(cls, data: bytes) -> "FileDigest":
        """Return the digest of a file's content."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first page of a bundle, written last.

    Parameters
    ----------
    format_version : int
        `FORMAT_VERSION`.
    name : str
        Model.
    created_at : str
        RFC 3339, UTC.
    code_version : str
        Version of this package that wrote it.
    contract_id : str
        `FeatureContract.id`.
    files : dict of str to FileDigest
        Every other file of the bundle.
    training : dict
        Fingerprint (sha256) of the training data, rows, seed, hyperparameters; for people.
    metrics : dict of str to float
        Figures of merit on held-out rows; finite.
    false_positive_rate : float
        Share of normal records that may raise an alert, in (0, 1).
    threshold : float
        Distance above which a record is an alert at that rate.
    latent_dim : int
        Dimensions of the latent space.
    digest : str
        Hexadecimal sha256 of all the above as canonical JSON: a changed manifest is noticed, as any
        other changed file.
    """

    format_version: int
    name: _ShortText
    created_at: _ShortText
    code_version: _ShortText
    contract_id: _Sha256
    files: dict[str, FileDigest]
    training: dict[str, Any]
    metrics: dict[str, float]
    false_positive_rate: float
    threshold: float
    latent_dim: Annotated[int, Meta(ge=1)]
    digest: str = ""

    def sealed(self) -> "Manifest":
        """Return the manifest with its digest."""
        return msgspec.structs.replace(self, digest=self._digest())

    def to_json(self) -> bytes:
        """Return JSON for people: indented, one key a line, keys in the order of the class."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def _digest(self) -> str:
        blank = msgspec.structs.replace(self, digest="")
        return hashlib.sha256(msgspec.json.encode(blank, order="sorted")).hexdigest()

    @classmethod
    def from_json(cls, data: bytes, *, origin: str) -> "Manifest":
        """Read what `to_json` wrote.

        Raises
        ------
        ManifestError
            When it is no manifest, or of another format version.
        IntegrityError
            When it was changed after it was written.
        """
        file = "manifest.json"
        try:
            version = msgspec.json.decode(data, type=_Versioned).format_version
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"{origin}: {file} is not readable: {brief(error)}; copy the bundle again"
            raise ManifestError(message, file=file) from error
        if version != FORMAT_VERSION:
            message = (
                f"{origin}: {file} has format version {version}, this program reads "
                f"{FORMAT_VERSION}; use the program that wrote it, or train again"
            )
            raise ManifestError(message, file=file)
        try:
            manifest = msgspec.json.decode(data, type=cls)
            digest = manifest._digest()  # noqa: SLF001  # of its own class
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = f"{origin}: {file} is no manifest: {brief(error)}; copy the bundle again"
            raise ManifestError(message, file=file) from error
        if manifest.digest != digest:
            message = (
                f"{origin}: {file} was changed after it was written (digest "
                f"{manifest.digest[:64]!r}, its content has {digest!r}); copy the bundle again"
            )
            raise IntegrityError(message, file=file)
        return manifest


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records with the scores that the trainer computed: a worker must compute the same.

    Parameters
    ----------
    records : tuple of str
        JSON objects; at least one.
    scores : tuple of float
        Distance of each; finite.
    """

    records: tuple[str, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what would prove nothing."""
        if len(self.records) != len(self.scores) or not self.records:
            message = (
                f"golden batch has {len(self.records)} records and {len(self.scores)} scores, "
                "expected as many of both and at least one"
            )
            raise ValueError(message)
        if not all(map(math.isfinite, self.scores)):
            message = "golden batch has a score that is not finite; the detector is broken"
            raise ValueError(message)

    @classmethod
    def compute(cls, detector: Detector, records: Sequence[str], *, decode: Decode) -> "Golden":
        """Return the golden batch of a detector for some records."""
        raw = decode([record.encode() for record in records])
        scores = detector.distances(detector.contract.transform(raw))
        return cls(records=tuple(records), scores=tuple(scores.tolist()))


class _Versioned(msgspec.Struct):
    """What every version of the format has."""

    format_version: int
