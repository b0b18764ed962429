"""Settings from all their sources, each with its origin, or every mistake at once.

Order, the later one wins: defaults < file < ``ANOEAN__SECTION__KEY`` < ``--set section.key=value``.
The file is ``--config``, else ``$ANOEAN_CONFIG``, else ``config.yaml`` in the working directory if
there is one.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from anoean_stream.configdocs import allowed, each_field, is_secret, sections
from anoean_stream.configsources import (
    DEFAULT,
    Entry,
    Source,
    UnreadableSourceError,
    read_environment,
    read_file,
    read_overrides,
)
from anoean_stream.errors import ConfigError
from anoean_stream.settings import Settings

DEFAULT_FILE = Path("config.yaml")
FILE_VARIABLE = "ANOEAN_CONFIG"

SECRET_OPTION = re.compile(r"password|secret|token|key\.pem|oauthbearer\.config")
"""librdkafka options whose values are secrets; ``consumer.options`` can hold any of them."""

_UNTEXT = re.compile("[\x00\ud800-\udfff]")
"""Neither can be in a path or an address; the second is also how Python reads bytes that are no UTF-8."""

MAX_PROBLEMS = 100
"""Mistakes that are told; nobody reads more, and each costs a search for what was meant."""

_SHOWN_CHARS = 200
"""Characters of a wrong value or name that are shown."""

MASK = "********"
"""Stands for every secret that is set; its length says nothing about the secret's."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings.

    Attributes
    ----------
    source : Source
        Where it was said.
    key : str
        ``section.key``; empty when a source could not be read at all.
    detail : str
        Value seen (never a secret), value allowed, what to do.
    """

    source: Source
    key: str
    detail: str

    def __str__(self) -> str:
        return f"{self.source.label}: {self.key + ' ' if self.key else ''}{self.detail}"


class InvalidSettingsError(ConfigError):
    """One or more settings are wrong; `problems` has them all.

    Parameters
    ----------
    problems : sequence of Problem
        At least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        text = [str(problem) for problem in problems]
        if len(text) > 1:
            text = [f"{len(text)} settings cannot be used:", *(f"  {line}" for line in text)]
        super().__init__("\n".join(text))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and where each value came from.

    Attributes
    ----------
    settings : Settings
        Complete and checked.
    file : Path or None
        The YAML file that was read.
    sources : mapping of (str, ...) to Source
        Only for values that are not defaults; ask `source_of`.
    """

    settings: Settings
    file: Path | None
    sources: Mapping[tuple[str, ...], Source] = field(default_factory=dict)

    def source_of(self, section: str, key: str) -> list[Source]:
        """List the sources of one setting, strongest last; a table can have several."""
        found = [source for path, source in self.sources.items() if path[:2] == (section, key)]
        return list(dict.fromkeys(found)) or [DEFAULT]


def load_settings(path: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Merge all sources into settings; see `load`, which also says where each value came from."""
    return load(path, overrides).settings


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> LoadedSettings:
    """Merge all sources into settings.

    Reads one small file and the environment; nothing is cached.

    Parameters
    ----------
    path : Path, optional
        The YAML file; by default ``$ANOEAN_CONFIG``, else ``./config.yaml`` if there is one.
    overrides : sequence of str
        ``section.key=value``, a later one wins.

    Returns
    -------
    LoadedSettings
        Settings with the source of each value.

    Raises
    ------
    InvalidSettingsError
        For an unreadable source, an unknown key, a value that is not allowed, or a combination
        that cannot work: all of them at once, each with its place.
    """
    path = path or _file_from_environment()
    entries: list[Entry] = []
    unreadable: list[UnreadableSourceError] = []
    if path is not None:
        try:
            entries, unreadable = read_file(path)
        except UnreadableSourceError as err:
            unreadable = [err]
    for found, wrong in (read_environment(), read_overrides(overrides)):
        entries += found
        unreadable += wrong

    problems = [Problem(err.source, "", err.detail) for err in unreadable]
    problems += [
        Problem(
            entry.source,
            _shown(".".join(entry.path[:2])),
            "is no text: it has a zero byte or half a character; write it again",
        )
        for entry in entries
        if not _is_text(entry)
    ]
    tree, sources = _merge(entry for entry in entries if _is_text(entry))
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as err:
        problems += islice(_explain(err.errors(include_url=False), sources), MAX_PROBLEMS)
    if problems:
        del problems[MAX_PROBLEMS:]
        raise InvalidSettingsError(problems)
    return LoadedSettings(settings, path, sources)


def _file_from_environment() -> Path | None:
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _merge(
    entries: Iterable[Entry],
) -> tuple[dict[str, object], dict[tuple[str, ...], Source]]:
    """Lay the entries over each other. Tables (``consumer.options``) are merged by key."""
    tree: dict[str, object] = {}
    sources: dict[tuple[str, ...], Source] = {}
    for entry in entries:
        node = tree
        for name in entry.path[:-1]:
            below = node.get(name)
            if not isinstance(below, dict):
                below = node[name] = {}
            node = below
        node[entry.path[-1]] = entry.value
        sources.pop(entry.path, None)  # so that the strongest source stands last
        sources[entry.path] = entry.source
    return tree, sources


def _explain(
    errors: Iterable[ErrorDetails], sources: Mapping[tuple[str, ...], Source]
) -> Iterator[Problem]:
    known = sections()
    reported = set()
    for error in errors:
        place = tuple(str(part) for part in error["loc"])
        if error["type"] == "cross_check":
            yield from _explain_combination(error, place, sources)
            continue
        key = _shown(".".join(place[:2]))
        source = _nearest_source(place, sources)
        if error["type"] == "extra_forbidden":
            yield Problem(source, key, f"is no setting; {_suggestion(place)}")
        elif len(place) == 1:
            keys = ", ".join(known[place[0]])
            yield Problem(
                source, key, f"is {_shown(repr(error['input']))}; expected a section with {keys}"
            )
        elif key not in reported:  # one sentence for a list with five bad items
            reported.add(key)
            info = known[place[0]][place[1]]
            hidden = is_secret(info) or SECRET_OPTION.search(place[-1])
            seen = MASK if hidden else _shown(repr(error["input"]))
            yield Problem(source, key, f"is {seen}; expected {allowed(info)}")


def _explain_combination(
    error: ErrorDetails, place: tuple[str, ...], sources: Mapping[tuple[str, ...], Source]
) -> Iterator[Problem]:
    context = error.get("ctx", {})
    paths = [(*place, *str(key).split(".")) for key in context.get("keys", ())]
    given = list(dict.fromkeys(sources[path] for path in paths if path in sources)) or [DEFAULT]
    # The strongest source is the last change, so most likely the mistake; the others are named too.
    strongest = max(given, key=lambda source: ("default", "file", "env", "set").index(source.kind))
    others = ", ".join(source.label for source in given if source is not strongest)
    detail = str(context.get("message", error["msg"])) + (f" (see also {others})" if others else "")
    yield Problem(strongest, ".".join(place) + ":", detail)


def _nearest_source(place: tuple[str, ...], sources: Mapping[tuple[str, ...], Source]) -> Source:
    for length in range(len(place), 0, -1):
        for path, source in sources.items():
            if path[:length] == place[:length]:
                return source
    return DEFAULT


def _is_text(entry: Entry) -> bool:
    """Return whether all text of an entry can be handed to the system: paths, addresses, names."""
    texts = [*entry.path, *(entry.value if isinstance(entry.value, list) else [entry.value])]
    return not any(_UNTEXT.search(text) for text in texts if isinstance(text, str))


def _shown(text: str) -> str:
    """Return the beginning of what may be very long."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _suggestion(place: tuple[str, ...]) -> str:
    """Name the settings that the user may have meant."""
    known = sections()
    if len(place) == 1:
        near = difflib.get_close_matches(place[0], known, n=1)
        if near:
            return f"did you mean the section {near[0]}?"
        holders = [f"{section}.{key}" for section, key, _ in each_field() if key == place[0]]
        if holders:
            return f"did you mean {' or '.join(holders)}?"
        return f"the sections are {', '.join(known)}"
    section, key = place[0], place[1]
    near = difflib.get_close_matches(key, known[section], n=1)
    if near:
        return f"did you mean {section}.{near[0]}?"
    elsewhere = [f"{other}.{name}" for other, name, _ in each_field() if name == key]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"{section} has {', '.join(known[section])}"
