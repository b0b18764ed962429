"""Where settings come from: a YAML file, the environment, ``--set``.

Each reader turns its source into `Entry` objects and says nothing about right or wrong values;
`anoean_stream.configfile` merges and checks them. Scalars stay the text that the user wrote
(only ``null`` becomes None), so ``0123`` is the same password and ``5`` the same number in a file,
in a variable and on the command line; pydantic turns text into the type of the field.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from anoean_stream import configyaml
from anoean_stream.settings import Settings

ENVIRONMENT_PREFIX = "ANOEAN__"
"""ANOEAN__SECTION__KEY; ANOEAN_CONFIG with one underscore names the file and is no setting."""

_MAX_LEVELS = configyaml.MAX_LEVELS


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from, in the words shown to the user.

    Attributes
    ----------
    kind : {"default", "file", "env", "set"}
        In this order the later one wins.
    label : str
        ``default``, ``config.yaml:12``, ``env ANOEAN__WEB__PORT`` or ``--set``.
    file : str or None
        The file, for kind "file".
    line : int or None
        Its line, counted from 1, for kind "file".
    """

    kind: Literal["default", "file", "env", "set"]
    label: str
    file: str | None = None
    line: int | None = None


DEFAULT = Source("default", "default")


@dataclass(frozen=True, slots=True)
class Entry:
    """One value at one place of the tree: ``("web", "port")`` is ``"8080"``, says this source."""

    path: tuple[str, ...]
    value: object
    source: Source


class UnreadableSourceError(ValueError):
    """A source that has no tree at all: not YAML, not ``section.key=value``.

    Parameters
    ----------
    source : Source
        File and line, variable, or option.
    detail : str
        What was seen and what was expected.
    """

    def __init__(self, source: Source, detail: str) -> None:
        super().__init__(f"{source.label}: {detail}")
        self.source = source
        self.detail = detail


def read_file(path: Path) -> tuple[list[Entry], list[UnreadableSourceError]]:
    """Read a YAML file into entries with their lines.

    Parameters
    ----------
    path : Path
        The file; shown in messages exactly as given.

    Returns
    -------
    entries : list of Entry
        In the order of the file. An empty file and an empty section have none.
    problems : list of UnreadableSourceError
        Duplicate keys and keys that are not text; the other entries are good nevertheless.

    Raises
    ------
    UnreadableSourceError
        When there is no such file, or it is no YAML mapping.
    """
    try:
        root = configyaml.compose(configyaml.read_text(path))
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else f"not UTF-8 text ({err.reason})"
        detail = f"cannot be read: {reason}; give a YAML file with --config or ANOEAN_CONFIG"
        raise UnreadableSourceError(_place(path, None), detail) from err
    except configyaml.RefusedYamlError as err:
        raise UnreadableSourceError(_place(path, err.line), err.detail) from err
    if root is None or _is_null(root):
        return [], []
    if not isinstance(root, yaml.MappingNode):
        detail = "expected sections such as 'broker:' with their keys below, indented by two blanks"
        raise UnreadableSourceError(_place(path, root.start_mark.line + 1), detail)
    problems: list[UnreadableSourceError] = []
    return list(_walk(root, path=path, above=(), problems=problems)), problems


def _walk(
    node: yaml.MappingNode,
    *,
    path: Path,
    above: tuple[str, ...],
    problems: list[UnreadableSourceError],
) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        place = _place(path, key_node.start_mark.line + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(UnreadableSourceError(place, "a key must be a plain name"))
            continue
        name = str(key_node.value)
        here = (*above, name)
        if name in seen:
            detail = f"{'.'.join(here)} is set twice, first in line {seen[name]}; remove one"
            problems.append(UnreadableSourceError(place, detail))
            continue
        seen[name] = place.line or 0
        if isinstance(value_node, yaml.MappingNode):
            yield from _walk(value_node, path=path, above=here, problems=problems)
        elif above or not _is_null(value_node):  # "web:" with all its keys commented out is empty
            yield Entry(here, _plain(value_node), place)


def _plain(node: yaml.Node) -> object:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {_name(key): _plain(value) for key, value in node.value}
    return None if _is_null(node) else str(node.value)


def _name(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "?"


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _place(path: Path, line: int | None) -> Source:
    if line is None:
        return Source("file", str(path), str(path))
    return Source("file", f"{path}:{line}", str(path), line)


class _Environment(Settings, BaseSettings):
    """The twin of `Settings` through which pydantic-settings reads a variable."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", env_parse_none_str="null"
    )


def read_environment() -> tuple[list[Entry], list[UnreadableSourceError]]:
    """Read ``ANOEAN__SECTION__KEY`` variables; an empty one counts as not set.

    Lists and tables are JSON: ``ANOEAN__TRAINING__ENCODER_HIDDEN='[64, 32]'``. Letter case does
    not matter, as some shells and schedulers change it.

    Returns
    -------
    entries : list of Entry
        Ordered by variable. Unknown sections are entries too, for a later check to name.
    problems : list of UnreadableSourceError
        Variables that hold no value of a kind that can be read (broken JSON).
    """
    entries: list[Entry] = []
    problems: list[UnreadableSourceError] = []
    for name in sorted(os.environ):
        if not name.upper().startswith(ENVIRONMENT_PREFIX) or not os.environ[name]:
            continue
        source = Source("env", f"env {name}")
        path = tuple(name[len(ENVIRONMENT_PREFIX) :].lower().split("__", _MAX_LEVELS))
        try:
            tree = _read_variable(name, path)
            if _is_deep(tree):
                detail = f"is nested deeper than {_MAX_LEVELS} levels; settings need three"
                problems.append(UnreadableSourceError(source, detail))
            else:
                entries += _leaves(tree, above=(), source=source)
        except (SettingsError, RecursionError):
            # The text is not shown: a table of librdkafka options may hold a password.
            detail = 'is not JSON; a list looks like [64, 32], a table like {"name": "value"}'
            problems.append(UnreadableSourceError(source, detail))
    return entries, problems


def _read_variable(name: str, path: tuple[str, ...]) -> dict[str, object]:
    """Ask pydantic-settings for one variable only, so that each value keeps its variable's name."""
    reader = EnvSettingsSource(_Environment)
    reader.env_vars = {name.lower(): None if os.environ[name] == "null" else os.environ[name]}
    tree: dict[str, object] = reader()
    if not tree:  # a section that does not exist is skipped in silence; we want it to be named
        for key in reversed(path):
            tree = {key: tree or os.environ[name]}
    return tree


def _is_deep(tree: object) -> bool:
    level = [tree]
    for _ in range(_MAX_LEVELS + 1):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return bool(level)


def _leaves(tree: object, *, above: tuple[str, ...], source: Source) -> Iterator[Entry]:
    if isinstance(tree, dict) and (tree or not above):
        for key, value in tree.items():
            yield from _leaves(value, above=(*above, str(key)), source=source)
    else:
        yield Entry(above, tree, source)


def read_overrides(overrides: Sequence[str]) -> tuple[list[Entry], list[UnreadableSourceError]]:
    """Read ``section.key=value`` as given to ``--set``.

    Lists are YAML: ``training.encoder_hidden=[64, 32]``. What follows ``section.options.`` is one
    name: ``consumer.options.fetch.min.bytes=1``.

    Parameters
    ----------
    overrides : sequence of str
        In the order of the command line.

    Returns
    -------
    entries : list of Entry
        In the same order.
    problems : list of UnreadableSourceError
        Words that are not ``section.key=value``.
    """
    entries: list[Entry] = []
    problems: list[UnreadableSourceError] = []
    for override in overrides:
        name, equals, text = override.partition("=")
        path = tuple(name.strip().split(".", 2))
        if not equals or len(path) < 2 or not all(path):  # noqa: PLR2004  section and key
            source = Source("set", f"--set {name}")
            problems.append(UnreadableSourceError(source, "expected section.key=value"))
            continue
        source = Source("set", "--set")
        value: object = text
        if text == "null":
            value = None
        elif text.startswith(("[", "{")):
            try:
                node = configyaml.compose(text)
            except configyaml.RefusedYamlError:
                detail = f"{name} is no list; a list looks like [64, 32]"
                problems.append(UnreadableSourceError(source, detail))
                continue
            value = _plain(node) if node is not None else None
        entries += _leaves(value, above=path, source=source)
    return entries, problems
