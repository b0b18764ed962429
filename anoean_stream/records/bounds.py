"""What a record may put into an alert: text that is UTF-8 and short, nesting that parsers follow.

Whoever can write to the input topic chooses these texts. Unbounded, one record could make an alert
that no broker takes and no reader parses, and the worker would meet it again after each restart.
"""

from typing import Final, TypeGuard

TEXT_MAX_CHARS: Final = 256
"""Characters of one text of a record in an alert, outside `original`. The longest address or host
name has 253; with 18 flow fields, 100 features and a line of reason an alert stays below 1 MB."""

KEY_MAX_BYTES: Final = 1024
"""Longest Kafka key that is copied to an alert, bytes. A longer one would count against the size of
the alert; keys of flows are addresses and ids, below 100."""

NESTING_MAX: Final = 64
"""Levels of `original` as JSON. Common parsers stop at 64 (.NET) or 128 (serde); exporters nest
fewer than 10. Deeper records are given as base64."""

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
"""Whole numbers that other languages read without loss; no counter of a flow is outside."""


def whole_text(text: str) -> str:
    r"""Return a text that can be encoded: half surrogate pairs become U+FFFD.

    JSON can write what is no character (``"\ud800"``), and Python's parser lets it pass.

    Examples
    --------
    >>> whole_text("a\ud800b") == "a\ufffdb"
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def short_text(text: str) -> str:
    """Return a whole text of at most `TEXT_MAX_CHARS` characters; a cut one ends in ``...``.

    Examples
    --------
    >>> len(short_text("x" * 1_000_000)), short_text("10.0.0.5")
    (256, '10.0.0.5')
    """
    if len(text) > TEXT_MAX_CHARS:
        text = f"{text[: TEXT_MAX_CHARS - 3]}..."
    return whole_text(text)


def is_plain_int(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number of 64 bits; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and _INT_MIN <= value <= _INT_MAX


def is_nested_deeply(value: bytes, decoded: object) -> bool:
    """Return whether JSON is nested deeper than `NESTING_MAX`.

    Parameters
    ----------
    value : bytes
        The JSON; with few brackets there is nothing to look at.
    decoded : object
        What it decodes to.
    """
    if value.count(b"[") + value.count(b"{") <= NESTING_MAX:
        return False
    level = [decoded]
    for _ in range(NESTING_MAX):
        level = [child for node in level for child in _children(node)]
    return bool(level)


def _children(node: object) -> list[object]:
    """Return the objects and lists directly in a node."""
    if isinstance(node, dict):
        return [child for child in node.values() if isinstance(child, dict | list)]
    return (
        [child for child in node if isinstance(child, dict | list)]
        if isinstance(node, list)
        else []
    )
