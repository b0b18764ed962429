"""Which score is an alert: the user's choice, worked out for one model.

A choice stands in the registry (`Registry.threshold`), so it survives restarts and holds for every
worker. Without one, ``scoring.false_positive_rate`` decides, and without that the model itself.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from anoean_stream.detector.calibration import Calibration
from anoean_stream.errors import ConfigError

Kind = Literal["alerts_per_hour", "false_positive_rate", "distance"]


class ThresholdChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person asked for.

    Parameters
    ----------
    kind : str
        ``alerts_per_hour`` over the whole fleet, ``false_positive_rate`` (share of normal records),
        or ``distance``.
    value : float
        In the unit of the kind.
    distances : dict of str to float
        Threshold by version, as it was worked out when the choice was made: from live scores for
        alerts an hour, the value itself for a distance.
    share : float or None
        For alerts an hour: the share of records that this is at the rate of records seen then.
    set_at, set_by, reason : str
        When (RFC 3339), by whom (``user@host``) and why.
    """

    kind: Kind
    value: Annotated[float, Meta(ge=0)]
    distances: dict[str, Annotated[float, Meta(ge=0)]] = {}
    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    set_at: Annotated[str, Meta(max_length=100)] = ""
    set_by: Annotated[str, Meta(max_length=500)] = ""
    reason: Annotated[str, Meta(max_length=2000)] = ""

    def __str__(self) -> str:
        """Return it as a person says it."""
        if self.kind == "alerts_per_hour":
            return f"{self.value:g} alert{'' if self.value == 1 else 's'} an hour"
        if self.kind == "false_positive_rate":
            return f"false-positive rate {self.value:g}"
        return f"distance {self.value:g}"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold of one model.

    Parameters
    ----------
    distance : float
        A score above it is an alert; -inf when every record is to alert.
    budget : float
        Share of records that are expected above it, in (0, 1].
    source : str
        Where it comes from, in words.
    """

    distance: float
    budget: float
    source: str


def work_out(
    choice: ThresholdChoice | None,
    *,
    version: str,
    calibration: Calibration,
    model_rate: float,
    model_threshold: float,
    settings_rate: float | None,
) -> Threshold:
    """Return the threshold of one version.

    Parameters
    ----------
    choice : ThresholdChoice or None
        Of the registry.
    version : str
        Version of the model.
    calibration : Calibration
        Its own.
    model_rate, model_threshold : float
        What it was exported with.
    settings_rate : float or None
        ``scoring.false_positive_rate``.

    Raises
    ------
    ConfigError
        When the rate of choice or settings is too small for the calibration to vouch for.
    """
    if choice is not None and version in choice.distances:
        distance = choice.distances[version]
        return Threshold(distance, _budget(calibration, distance, choice), str(choice))
    if choice is not None and choice.kind == "false_positive_rate":
        return Threshold(calibration.threshold(choice.value), choice.value, str(choice))
    if choice is not None and choice.share is not None:
        # No live scores of this version were known: the same share of its calibration's normals.
        share = min(max(choice.share, calibration.smallest_rate), 1.0)
        source = f"{choice}, by the calibration of version {version} (share {share:.3g})"
        return Threshold(calibration.threshold(share), share, source)
    aside = "" if choice is None else f" ({choice} was set for another version)"
    if settings_rate is not None:
        source = f"scoring.false_positive_rate {settings_rate:g}{aside}"
        return Threshold(calibration.threshold(settings_rate), settings_rate, source)
    return Threshold(model_threshold, model_rate, f"the model's own, rate {model_rate:g}{aside}")


def _budget(calibration: Calibration, distance: float, choice: ThresholdChoice) -> float:
    if choice.share is not None and choice.share > 0:
        return choice.share
    n_above = int((calibration.scores_sorted_N > distance).sum())
    return max(n_above, 1) / (calibration.scores_sorted_N.size + 1)


def check_choice(choice: ThresholdChoice) -> None:
    """Raise ConfigError for a value that its kind cannot have."""
    if choice.kind == "false_positive_rate" and not 0 < choice.value <= 1:
        message = f"the false-positive rate is {choice.value:g}, expected a share in (0, 1]"
        raise ConfigError(message)
    if choice.kind == "alerts_per_hour" and not choice.value > 0:
        message = f"{choice.value:g} alerts an hour were asked for, expected more than 0"
        raise ConfigError(message)
