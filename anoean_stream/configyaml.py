"""YAML as far as settings need it: no references, few levels, a size that a person could write.

PyYAML's composer follows aliases, so that a file of 300 bytes can stand for more values than memory
holds; it takes seconds for each 100 KB, and for some texts it raises what is no YAMLError. Nothing is
constructed from tags: a value is the text that stands there.
"""

from pathlib import Path
from typing import Final

import yaml

MAX_BYTES: Final = 131_072
"""Largest settings file, bytes; the one with every setting has 10,000."""

MAX_NODES: Final = 10_000
"""Names and values of one file, about a second of PyYAML; all settings together have 250."""

MAX_LEVELS: Final = 8
"""Levels of mappings and lists: section, key, an option's table or a list are three."""


class RefusedYamlError(ValueError):
    """YAML that settings do not take.

    Parameters
    ----------
    detail : str
        What was seen, what was expected.
    line : int or None
        Where, counted from 1.
    """

    def __init__(self, detail: str, line: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.line = line


def read_text(path: Path) -> str:
    """Return the text of a file of at most `MAX_BYTES`, without its byte order mark.

    Raises
    ------
    RefusedYamlError
        When it is larger.
    OSError, UnicodeDecodeError
        When it cannot be read, or is no UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)  # not its size: /dev/zero has none
    if len(data) > MAX_BYTES:
        detail = (
            f"has more than {MAX_BYTES} bytes, which no settings need; give a YAML file with "
            "--config or ANOEAN_CONFIG"
        )
        raise RefusedYamlError(detail)
    return data.decode("utf-8-sig")


def compose(text: str) -> yaml.Node | None:
    """Return the tree of a document, None for an empty one.

    Raises
    ------
    RefusedYamlError
        When it is no YAML, has an alias, or is too deep or too large; says which.
    """
    try:
        return yaml.compose(text, Loader=_BoundedLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise RefusedYamlError(_detail(error), None if mark is None else mark.line + 1) from error
    except yaml.YAMLError as error:  # a control character, which has no line
        detail = f"is not YAML: {str(error).splitlines()[0]}; remove the character"
        raise RefusedYamlError(detail) from error
    except (ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, RefusedYamlError):
            raise
        # A version or an escape of more digits than there are characters.
        detail = f"is not YAML ({type(error).__name__}); remove escapes and directives"
        raise RefusedYamlError(detail) from error


class _BoundedLoader(yaml.SafeLoader):
    """Composes a document and counts."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._n_nodes = 0
        self._level = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]  # PyYAML
        if self.check_event(yaml.AliasEvent):
            detail = "refers to another place with '*'; write the value out here"
            raise RefusedYamlError(detail, line)
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            detail = f"has more than {MAX_NODES} names and values; all settings together have fewer"
            raise RefusedYamlError(detail, line)
        self._level += 1
        if self._level > MAX_LEVELS + 1:  # a value in the deepest list is one level more
            detail = f"is nested deeper than {MAX_LEVELS} levels; settings need three"
            raise RefusedYamlError(detail, line)
        try:
            node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
            return node
        finally:
            self._level -= 1


def _detail(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "unknown error"
    if "\\t" in problem:
        return "a tab cannot indent YAML; replace it with blanks"
    return f"is not YAML ({problem[:200]}); check indentation, colons and quotes around this line"
