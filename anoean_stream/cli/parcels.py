"""What ``anoean publish`` sends: values with their labels beside them, never inside."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

import msgspec
import numpy as np

from anoean_stream.cli.offline import Source
from anoean_stream.records.files import read_rows, read_values, row_to_json
from anoean_stream.records.flow import flow_fields
from anoean_stream.records.outgoing import Headers
from anoean_stream.simulate import Simulator, break_value

LABEL_HEADER: Final = "anoean-label"
"""0 or 1, or what the label column of the file says."""

ATTACK_HEADER: Final = "anoean-attack"
"""Kind of attack, "normal" for normal traffic; on simulated records only."""

_DIFFICULTY: Final = "difficulty"
"""NSL-KDD's second answer column: how many of its authors' classifiers were right."""

_JSON_NAMES: Final = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One record to publish.

    Parameters
    ----------
    value : bytes or None
        Payload.
    key : bytes or None
        The source address, so that records of one host stay in order; None when there is none.
    headers : tuple of (str, bytes)
        The truth about the record, where it is known.
    """

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


def from_file(source: Source, *, label_column: str, keep_labels: bool) -> Iterator[Parcel]:
    """Yield the rows of a file.

    The label column goes to the header ``anoean-label``, and stays in the value only when
    `keep_labels` says so. A line of a JSON lines file that is no JSON object is sent as it is: it
    is for the worker to judge.

    Raises
    ------
    DataError
        When the file cannot be read.
    """
    answers = (label_column, _DIFFICULTY) if source.dataset else (label_column,)
    if _is_json_lines(source):
        for line in read_values(source.path):
            yield _from_line(line, answers, keep_labels=keep_labels)
        return
    for row in read_rows(source.path, columns=source.columns):
        yield _from_row(row, answers, keep_labels=keep_labels)


def from_simulator(
    simulator: Simulator, *, malformed_share: float = 0.0, seed: int = 0
) -> Iterator[Parcel]:
    """Yield simulated records for ever, some of them broken.

    Parameters
    ----------
    malformed_share : float
        Share of records to break, [0, 1]; they carry no label.
    """
    rng = np.random.default_rng((seed, 1))
    encode = msgspec.json.Encoder().encode
    for flow, luck in zip(simulator.flows(), _uniform(rng), strict=False):
        value = encode(flow.record)
        key = flow.record["src_ip"].encode()
        if luck < malformed_share:
            yield Parcel(break_value(value, rng=rng), key)
            continue
        attack = flow.attack or "normal"
        yield Parcel(
            value,
            key,
            ((LABEL_HEADER, str(flow.label).encode()), (ATTACK_HEADER, attack.encode())),
        )


def _from_line(line: bytes, answers: tuple[str, ...], *, keep_labels: bool) -> Parcel:
    try:
        row = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Parcel(line)
    label = row.get(answers[0])
    key = _key({name: msgspec.json.decode(raw) for name, raw in row.items()})
    if label is None:
        return Parcel(line, key)
    headers = ((LABEL_HEADER, bytes(label).strip(b'"')),)
    if keep_labels:
        return Parcel(line, key, headers)
    # Raw keeps every other value to the letter: 1.0 stays 1.0.
    rest = {name: raw for name, raw in row.items() if name not in answers}
    return Parcel(msgspec.json.encode(rest), key, headers)


def _from_row(row: dict[str, object], answers: tuple[str, ...], *, keep_labels: bool) -> Parcel:
    label = row.get(answers[0])
    headers: Headers = () if label is None else ((LABEL_HEADER, str(label).strip().encode()),)
    sent = row if keep_labels else {name: cell for name, cell in row.items() if name not in answers}
    return Parcel(row_to_json(sent), _key(row), headers)


def _key(row: dict[str, object]) -> bytes | None:
    address = flow_fields(row).get("src_ip")
    return None if address is None else str(address).encode()


def _is_json_lines(source: Source) -> bool:
    name = source.path.name.lower().removesuffix(".gz")
    return name.endswith(_JSON_NAMES)


def _uniform(rng: np.random.Generator) -> Iterator[float]:
    for _ in count():
        yield from rng.random(4096).tolist()
