"""The features file: a person's word on columns, in YAML.

::

    fields:
      bytes: {kind: number, log1p: true, unit: bytes}
      established: flag
      dst_port: category
    drop: [src_ip, comment]
    rest: infer          # or drop: then only what is named above is used
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml

from anoean_stream.errors import ConfigError
from anoean_stream.features.fit import FieldSpec, Kind

_KINDS: Final[tuple[str, ...]] = get_args(Kind)
_KEYS: Final = ("fields", "drop", "rest")
_OPTIONS: Final = ("kind", "log1p", "unit")


@dataclass(frozen=True, slots=True)
class FeaturesFile:
    """What a features file says.

    Parameters
    ----------
    fields : mapping of str to FieldSpec
        Columns to use, by name.
    drop : tuple of str
        Columns to leave out.
    rest : "infer" or "drop"
        What becomes of columns that are not named.
    """

    fields: Mapping[str, FieldSpec] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    rest: Literal["infer", "drop"] = "infer"


def read_features_file(path: Path) -> FeaturesFile:
    """Read a features file.

    Raises
    ------
    ConfigError
        When it cannot be read, or says something that is not understood; names what.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read the features file {path}: {error.strerror}"
        raise ConfigError(message) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path} is no YAML: {error}"
        raise ConfigError(message) from error
    if not isinstance(document, dict) or not document:
        message = f"{path}: expected the keys {', '.join(_KEYS)}, got {_shown(document)}"
        raise ConfigError(message)
    for key in document:
        if key not in _KEYS:
            message = f"{path}: unknown key {key!r}; expected {', '.join(_KEYS)}"
            raise ConfigError(message)
    fields = document.get("fields") or {}
    drop = document.get("drop") or []
    rest = document.get("rest", "infer")
    if not isinstance(fields, dict):
        message = f"{path}: fields must map names to kinds, got {_shown(fields)}"
        raise ConfigError(message)
    if not isinstance(drop, list) or not all(isinstance(name, str) for name in drop):
        message = f"{path}: drop must be a list of column names, got {_shown(drop)}"
        raise ConfigError(message)
    if rest not in {"infer", "drop"}:
        message = f"{path}: rest is {_shown(rest)}, expected infer or drop"
        raise ConfigError(message)
    if both := sorted(set(fields) & set(drop)):
        message = f"{path}: {both} are under fields and under drop; remove them from one"
        raise ConfigError(message)
    specs = {str(name): _field(str(name), value, path) for name, value in fields.items()}
    return FeaturesFile(fields=specs, drop=tuple(drop), rest=rest)


def _field(name: str, value: object, path: Path) -> FieldSpec:
    options: dict[str, Any] = value if isinstance(value, dict) else {"kind": value}
    for option in options:
        if option not in _OPTIONS:
            message = (
                f"{path}, field {name!r}: unknown option {option!r}; expected {', '.join(_OPTIONS)}"
            )
            raise ConfigError(message)
    kind, log1p, unit = options.get("kind"), options.get("log1p"), options.get("unit", "")
    if kind not in _KINDS:
        message = f"{path}, field {name!r}: kind is {_shown(kind)}, expected {', '.join(_KINDS)}"
        raise ConfigError(message)
    if not (log1p is None or isinstance(log1p, bool)) or (log1p and kind != "number"):
        message = (
            f"{path}, field {name!r}: log1p is {_shown(log1p)}, expected true or false, for numbers"
        )
        raise ConfigError(message)
    if not isinstance(unit, str):
        message = f"{path}, field {name!r}: unit is {_shown(unit)}, expected a text such as bytes"
        raise ConfigError(message)
    return FieldSpec(name, kind, log1p=log1p, unit=unit)


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r}"[:80]
