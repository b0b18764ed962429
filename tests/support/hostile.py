"""Records that somebody made to hurt: strategies for hypothesis, and the worst of each size."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from tests.support.models import SPECS, make_rows

FIELDS: Final = tuple(spec.name for spec in SPECS)
FLOW_FIELDS: Final = ("src_ip", "id.orig_h", "dst_port", "bytes", "ts", "uid", "sensor")

MEBIBYTE: Final = 1_048_576

_LITERALS: Final = (
    "NaN", "-Infinity", "Infinity", "1e999999", "-1e999999", "1e-999999", "-0", "-0.0", "5e-324",
    "1.7976931348623157e308", "18446744073709551616", "-9223372036854775809", "9" * 400,
    "9" * 4300, "9" * 4301, "0." + "1" * 5000, "0" * 50, "01", "0x1F", "+1", ".5", "1.", "1_000",
    "true", "null", "nul", "", "\u0661", "[]", "{}", "[[]]", '{"a":{}}', "[" * 990 + "]" * 990,
    '{"a":' * 300 + "1" + "}" * 300, "[" * 500,
    '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u001b[2J"', '"\x00"',
    '"\ufeff"', '"\ufffe"', '"\u202e"', '"a\\"b"', '"\\x"', '"' + "x" * 5000 + '"',
    '" 7 "', '"-"', '"1e400"', '"nan"', '"TRUE"', '"\u00df\u0130\ufb03"', '"80.0"', '"[bold]"',
)  # fmt: skip
"""JSON values, and what only looks like one."""

_literals = st.sampled_from(_LITERALS)

_scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12)
)
_trees = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_values = _literals | _trees.map(json.dumps)
_names = st.sampled_from((*FIELDS, *FLOW_FIELDS, "other", "", "\\ud800", "a\\u0000b"))


@st.composite
def _objects(draw: st.DrawFn) -> bytes:
    """An object as text: known names, hostile values, names twice, blanks anywhere."""
    pairs = draw(st.lists(st.tuples(_names, _values), max_size=9))
    blank = draw(st.sampled_from(("", " ", "\n\t\r")))
    text = ",".join(f'{blank}"{name}"{blank}:{value}' for name, value in pairs)
    mark = draw(st.sampled_from(("", "", "\ufeff")))
    return f"{mark}{{{text}{blank}}}".encode(errors="surrogatepass")


Edit = tuple[int, str, int, bytes]

edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.integers(0, 2**24),
        st.sampled_from(("flip", "cut", "double", "insert")),
        st.integers(0, 40),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
"""What to do to some bytes: place, kind, how much, and what to put in."""


def edited(data: bytes, todo: list[Edit]) -> bytes:
    """Return bytes with some of them turned over, cut out, doubled or put in."""
    changed = bytearray(data)
    for where, kind, n_bytes, new in todo:
        place = where % max(len(changed), 1)
        if kind == "flip":
            changed[place : place + 1] = bytes(
                byte ^ 1 << (n_bytes % 8) for byte in changed[place : place + 1]
            )
        elif kind == "cut":
            del changed[place : place + n_bytes]
        elif kind == "double":
            changed[place:place] = changed[place : place + n_bytes]
        else:
            changed[place:place] = new
    return bytes(changed)


def mutated(source: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return bytes of a strategy, changed in a few places."""
    return st.builds(edited, source, edits)


_valid: st.SearchStrategy[bytes] = st.integers(0, 50).map(
    lambda seed: json.dumps(make_rows(1, seed=seed)[0] | {"src_ip": "10.0.0.5"}).encode()
)

records: st.SearchStrategy[bytes | None] = (
    _objects() | mutated(_valid) | mutated(_objects()) | st.binary(max_size=60) | st.none()
)
"""Payloads, one of them at a time."""

keys: st.SearchStrategy[bytes | None] = st.none() | st.binary(max_size=20) | st.just(b"\xff" * 5000)

timestamps_ms: st.SearchStrategy[int] = st.integers(-1, 2**63 - 1) | st.just(1_700_000_000_000)
"""What a producer may claim."""


def heavy_records(size_bytes: int) -> dict[str, bytes]:
    """Return the records that cost most among all of one size, by what they are made of."""

    def filled(head: bytes, unit: bytes, tail: bytes) -> bytes:
        return head + unit * ((size_bytes - len(head) - len(tail)) // len(unit)) + tail

    numbered = b"".join(b'"%d":1,' % number for number in range(size_bytes // 11))
    return {
        "digits of a number": filled(b'{"duration":', b"9", b"}"),
        "digits of a number as text": filled(b'{"duration":"', b"9", b'"}'),
        "digits of a word": filled(b'{"proto":"', b"9", b'"}'),
        "digits of a fraction": filled(b'{"duration":0.', b"9", b"}"),
        "longest integers": filled(b'{"y":[NaN,', b"9" * 4300 + b",", b"1]}"),
        "empty lists": filled(b'{"y":[', b"[],", b"[]]}"),
        "empty lists beside NaN": filled(b'{"y":[NaN,', b"[],", b"[]]}"),
        "empty lists in a number": filled(b'{"duration":[', b"[],", b"[]]}"),
        "opening brackets": filled(b'{"y":', b"[", b""),
        "names": b"{" + numbered + b'"x":1}',
        "names beside NaN": b"{" + numbered + b'"x":NaN}',
        "one name": filled(b"{", b'"duration":1,', b'"duration":2}'),
        "one name beside NaN": filled(b"{", b'"duration":1,', b'"duration":NaN}'),
        "escapes": filled(b'{"proto":"', b"\\u0000", b'"}'),
        "half surrogates": filled(b'{"proto":"', b"\\ud800", b'"}'),
        "half surrogates as an address": filled(b'{"x":NaN,"src_ip":"', b"\\ud800", b'"}'),
        "an address": filled(b'{"src_ip":"', b"a", b'"}'),
        "a word that grows when folded": filled(b'{"proto":"', "\u0390".encode(), b'"}'),
        "blanks": filled(b"", b" ", b""),
        "blanks in an object": filled(b"{", b" ", b"}"),
        "blanks in a number": filled(b'{"duration":"', b" ", b'"}'),
        "letters in a number": filled(b'{"duration":"', b"a", b'"}'),
        "backslashes": filled(b'{"y":"', b"\\\\", b""),
    }


def as_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()
