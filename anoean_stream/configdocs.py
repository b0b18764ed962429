"""What may stand in a setting, in words, and config.yaml written from the models."""

from collections.abc import Iterator
from typing import Literal, get_args, get_origin

import annotated_types
import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from anoean_stream.settings import Section, Settings

_HEADER = """\
# Every setting of Anoean with its default. Change a line, or delete it to keep the default.
# Stronger than this file: ANOEAN__SECTION__KEY in the environment, then --set section.key=value.
# `anoean config check` prints the merged result and where each value came from.
# Generated from anoean_stream/settings by `anoean config write --force`; a test compares them.
"""


def each_field() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield section name, key and field of every setting, in the order of config.yaml."""
    for section, key_to_field in sections().items():
        for key, field in key_to_field.items():
            yield section, key, field


def sections() -> dict[str, dict[str, FieldInfo]]:
    """Map each section to its keys and their fields."""
    result = {}
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type), f"section {name} must be annotated with its model"
        assert issubclass(model, Section), f"section {name} must be a Section"
        result[name] = dict(model.model_fields)
    return result


def is_secret(field: FieldInfo) -> bool:
    """Tell whether the value must never be shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def allowed(field: FieldInfo) -> str:
    """Say what a value must be: ``a whole number from 0 to 65535``, ``one of: a, b``.

    Parameters
    ----------
    field : FieldInfo
        A field of one of the sections.

    Returns
    -------
    str
        Fits behind "expected"; names both bounds where there are two.
    """
    members = _members(field.annotation)
    kinds = [kind for kind in members if kind is not type(None)]
    text = " or ".join(dict.fromkeys(_kind_words(kind) for kind in kinds)) + _rules(field)
    return f"{text}, or null" if len(kinds) < len(members) else text


def _members(annotation: object) -> tuple[object, ...]:
    if get_origin(annotation) in (None, Literal, tuple, list, dict):
        return (annotation,)
    return get_args(annotation)


def _kind_words(kind: object) -> str:
    if get_origin(kind) is Literal:
        return "one of: " + ", ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list" if str in get_args(kind) else "a list such as [64, 32] of whole numbers"
    if get_origin(kind) is dict:
        return "names with text values"
    if kind is bool:
        return "true or false"
    if kind is int:
        return "a whole number"
    if kind is float:
        return "a number"
    return "text"


def _rules(field: FieldInfo) -> str:
    """What pydantic checks beyond the type, for a sentence: `` from 1 to 300``."""
    if field.examples:
        return f" such as {field.examples[0]}"
    return "".join(f" {word}" for word in (_range(field), _length(field)) if word)


def _range(field: FieldInfo) -> str:
    low = high = ""
    for rule in field.metadata:
        match rule:
            case annotated_types.Ge(ge=bound):
                low = f"from {bound}"
            case annotated_types.Gt(gt=bound):
                low = f"above {bound}"
            case annotated_types.Le(le=bound):
                high = f"to {bound}"
            case annotated_types.Lt(lt=bound):
                high = f"below {bound}"
    if low.startswith("from") and high.startswith("to"):
        return f"{low} {high}"
    return " and ".join(word for word in (low, high.replace("to", "up to")) if word)


def _length(field: FieldInfo) -> str:
    shortest = [
        rule.min_length for rule in field.metadata if isinstance(rule, annotated_types.MinLen)
    ]
    return f"of at least {shortest[0]} character{'s'[: shortest[0] > 1]}" if shortest else ""


def default_yaml() -> str:
    """Write config.yaml: every setting, its default, and above it what it means.

    Returns
    -------
    str
        YAML text that reads back as `Settings()`.
    """
    lines = [_HEADER]
    for section, fields in sections().items():
        model = Settings.model_fields[section].annotation
        summary = (getattr(model, "__doc__", None) or "").strip().splitlines()[0]
        lines += [f"# {summary}", f"{section}:"]
        for key, field in fields.items():
            lines += [
                f"  # {comment(field)}",
                f"  {key}: {_as_yaml(field.get_default(call_default_factory=True))}",
            ]
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def comment(field: FieldInfo) -> str:
    """Describe a setting in one line: meaning and unit, then the values it may take."""
    meaning = " ".join((field.description or "").split())
    choices = [
        str(choice)
        for kind in _members(field.annotation)
        if get_origin(kind) is Literal
        for choice in get_args(kind)
    ]
    values = " | ".join(choices) or _range(field)
    return f"{meaning} ({values})" if values else meaning


def _as_yaml(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()
