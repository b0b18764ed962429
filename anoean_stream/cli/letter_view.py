"""One dead letter in full: its headers, and its bytes as hexadecimal digits and text."""

from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Message
from rich.markup import escape

from anoean_stream.cli.console import out
from anoean_stream.cli.dead_letters import DeadLetter, as_document, printable
from anoean_stream.cli.reader import header_texts

SHOWN_BYTES: Final = 512
"""Bytes of a value that are shown; --raw gives all of them."""

_ROW_BYTES: Final = 16


def show_letter(letter: DeadLetter, message: Message, *, topic: str) -> None:
    """Print a letter on stdout, nothing in it obeyed by the terminal."""
    written = "-" if letter.written_at is None else letter.written_at.isoformat(timespec="seconds")
    out.print(f"[bold]{escape(topic)} {letter.place}[/], written {written}", soft_wrap=True)
    headers = {printable(name): printable(text) for name, text in header_texts(message).items()}
    width = max(map(len, headers), default=0)
    for name, text in headers.items():
        out.print(f"  {escape(name):<{width}}  {escape(text)}", soft_wrap=True)
    key, value = message.key(), message.value()
    out.print(f"key: {_sized(key)}")
    _print_bytes(key)
    out.print(f"value: {_sized(value)}{' (cut; the original was longer)' if letter.is_cut else ''}")
    _print_bytes(value)


def letter_document(letter: DeadLetter, message: Message) -> dict[str, Any]:
    """Return a letter with headers, key and value (base64) as a JSON object."""
    return {
        **as_document(letter),
        "headers": header_texts(message),
        "key": message.key(),
        "value": message.value(),
    }


def hex_rows(value: bytes) -> Iterator[str]:
    """Yield rows of offset, sixteen bytes in hexadecimal digits, and the same as ASCII text.

    Examples
    --------
    >>> list(hex_rows(b'{"a": 1}'))
    ['00000000  7b 22 61 22 3a 20 31 7d                          {"a": 1}']
    """
    for first in range(0, len(value), _ROW_BYTES):
        row = value[first : first + _ROW_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004  printable ASCII
        yield f"{first:08x}  {row.hex(' '):<{3 * _ROW_BYTES}} {text}"


def _print_bytes(value: bytes | None) -> None:
    for row in hex_rows((value or b"")[:SHOWN_BYTES]):
        out.print(f"  {escape(row)}", soft_wrap=True)
    if value is not None and len(value) > SHOWN_BYTES:
        out.print(f"  ... {len(value) - SHOWN_BYTES:,} more bytes; --raw writes all of them")


def _sized(value: bytes | None) -> str:
    return "none" if value is None else f"{len(value):,} bytes"
