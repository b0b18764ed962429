"""The evaluation set of a model: labelled records on which its versions are held against each other.

::

    <url>/<name>/evaluation/<n>/records.jsonl.gz    {"is_anomaly":true,"record":{...}} a line
    <url>/<name>/evaluation/<n>/meta.json           written last: without one the set does not exist

Sets never change and are numbered from 1; the highest whole one is in force. The labels lie apart
from the records, so no version can read them. Every call blocks on disk or network.

Letters: N records of the set.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import DataError, RegistryError, brief
from anoean_stream.records.times import rfc3339
from anoean_stream.registry.layout import check_name, is_version
from anoean_stream.registry.registry import Registry, who_am_i

MAX_RECORDS: Final = 200_000
"""Most records of a set: more would not move an interval, but the gate would take minutes."""

MAX_BYTES: Final = 256 * 2**20
"""Most bytes of a set, unpacked; all of it is in memory at once."""

_META_MAX_BYTES: Final = 16_384
"""Largest meta.json, bytes; ours have 400, and a path of a few thousand letters at most."""

_SOURCE_MAX_CHARS: Final = 2000

_RECORDS: Final = "records.jsonl.gz"
_META: Final = "meta.json"


class EvaluationInfo(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"records": "n_records", "anomalies": "n_anomalies"},
):
    """What an evaluation set is, without its records; the content of meta.json.

    Parameters
    ----------
    number : int
        From 1; the highest is in force. Not in the file: it is the name of the folder.
    sha256 : str
        Of records.jsonl.gz.
    records, anomalies : int
        How many there are, and how many of them are anomalies.
    source : str
        Where they come from, in words.
    created_at : str
        RFC 3339 in UTC.
    created_by : str
        ``user@host``.
    """

    number: int = 0
    sha256: str
    records: int
    anomalies: int
    source: str
    created_at: str
    created_by: str


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Labelled records.

    Parameters
    ----------
    info : EvaluationInfo
        Number, origin, counts.
    values : tuple of bytes, length N
        One JSON object each, as on a topic, without the label.
    is_anomaly_N : ndarray of bool, shape (N,)
        The labels.
    """

    info: EvaluationInfo
    values: tuple[bytes, ...]
    is_anomaly_N: NDArray[np.bool_]


class _Line(msgspec.Struct, frozen=True):
    is_anomaly: bool
    record: msgspec.Raw


def publish_evaluation(
    registry: Registry,
    name: str,
    records: Sequence[tuple[bytes, bool]],
    *,
    source: str,
    by: str | None = None,
) -> EvaluationInfo:
    """Keep labelled records as the evaluation set of a model from now on.

    Readers see the whole set or the one before; publishers at the same time get different numbers.

    Parameters
    ----------
    registry : Registry
        Where the model is, or will be.
    name : str
        Name of the model.
    records : sequence of (bytes, bool)
        A JSON object without its label, and whether it is an anomaly; both kinds must be there.
    source : str
        Where they come from, in words; shortened to 2000 characters.
    by : str, optional
        Who does it; ``user@host`` of this process if left out.

    Raises
    ------
    DataError
        When a record is no JSON object, one class is absent, or there are more than `MAX_RECORDS`
        records or `MAX_BYTES` bytes.
    RegistryError
        When the store cannot be written, or the name cannot name a model.
    """
    check_name(name)
    n_anomalies = _check_classes(name, records)
    # No time stamp in the gzip header: the same records have the same hash.
    packed = gzip.compress(_lines(name, records), mtime=0)
    info = EvaluationInfo(
        sha256=hashlib.sha256(packed).hexdigest(),
        records=len(records),
        anomalies=n_anomalies,
        source=source[:_SOURCE_MAX_CHARS],
        created_at=rfc3339(datetime.now(UTC), digits="seconds"),
        created_by=by or who_am_i(),
    )
    files = {_RECORDS: packed, _META: msgspec.json.format(msgspec.json.encode(info), indent=2)}
    number = registry.store.add_numbered(f"{name}/evaluation", files, last=_META)
    return msgspec.structs.replace(info, number=number)


def read_evaluation(registry: Registry, name: str) -> EvaluationSet | None:
    """Return the evaluation set of a model that is in force; None when it has none.

    Raises
    ------
    RegistryError
        When it cannot be read, is larger than allowed, or is not what was published.
    """
    info = evaluation_info(registry, name)
    if info is None:
        return None
    path = f"{_folder(name, info.number)}/{_RECORDS}"
    origin = f"{registry.url.rstrip('/')}/{path}"
    try:
        packed = registry.store.read(path, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:
        raise _broken(origin, "is missing") from error
    if hashlib.sha256(packed).hexdigest() != info.sha256:
        raise _broken(origin, "was changed after it was written (another sha256 than meta.json's)")
    values, is_anomaly = [], []
    decode = msgspec.json.Decoder(_Line).decode
    for place, line in enumerate(_unpacked(packed, origin=origin).splitlines(), start=1):
        try:
            record = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _broken(origin, f"line {place} cannot be read ({brief(error)})") from error
        values.append(bytes(record.record))
        is_anomaly.append(record.is_anomaly)
    is_anomaly_N = np.array(is_anomaly, dtype=np.bool_)
    counts = (len(values), int(is_anomaly_N.sum()))
    if counts != (info.records, info.anomalies):
        counted = f"has {counts[0]} records and {counts[1]} anomalies, meta.json says {info.records} and {info.anomalies}"
        raise _broken(origin, counted)
    return EvaluationSet(info, tuple(values), is_anomaly_N)


def evaluation_info(registry: Registry, name: str) -> EvaluationInfo | None:
    """Return what the evaluation set in force is, without reading its records; None without one.

    Raises
    ------
    RegistryError
        When its meta.json cannot be read or understood.
    """
    check_name(name)
    for number in reversed(_numbers(registry, name)):
        path = f"{_folder(name, number)}/{_META}"
        try:
            data = registry.store.read(path, max_bytes=_META_MAX_BYTES)
        except FileNotFoundError:
            continue  # still being written, or its publisher died
        origin = f"{registry.url.rstrip('/')}/{path}"
        try:
            info = msgspec.json.decode(data, type=EvaluationInfo)
        except (ValueError, RecursionError) as error:
            raise _broken(origin, f"is no description of a set ({brief(error)})") from error
        return msgspec.structs.replace(info, number=number)
    return None


def _check_classes(name: str, records: Sequence[tuple[bytes, bool]]) -> int:
    if len(records) > MAX_RECORDS:
        message = (
            f"{len(records)} records for the evaluation set of model {name!r}, allowed are "
            f"{MAX_RECORDS}; take a sample (`anoean models evaluation set --max-records`)"
        )
        raise DataError(message)
    n_anomalies = sum(is_anomaly for _, is_anomaly in records)
    if not 0 < n_anomalies < len(records):
        message = (
            f"{n_anomalies} of {len(records)} records for the evaluation set of model {name!r} are "
            "anomalies; expected both anomalies and normals"
        )
        raise DataError(message)
    return n_anomalies


def _lines(name: str, records: Sequence[tuple[bytes, bool]]) -> bytes:
    lines = []
    left_bytes = MAX_BYTES
    check = msgspec.json.Decoder(dict[str, object]).decode
    for row, (value, is_anomaly) in enumerate(records, start=1):
        try:
            check(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = (
                f"record {row} for the evaluation set of model {name!r} is no JSON object "
                f"({brief(error)}); leave it out"
            )
            raise DataError(message, row=row) from error
        # A line break in valid JSON stands between two tokens, so a blank says the same.
        one_line = msgspec.Raw(value.replace(b"\n", b" ").replace(b"\r", b" "))
        line = msgspec.json.encode(_Line(is_anomaly, one_line)) + b"\n"
        left_bytes -= len(line)
        if left_bytes < 0:
            message = (
                f"the records for the evaluation set of model {name!r} have more than {MAX_BYTES} "
                f"bytes (reached at record {row} of {len(records)}); take fewer"
            )
            raise DataError(message, row=row)
        lines.append(line)
    return b"".join(lines)


def _unpacked(packed: bytes, *, origin: str) -> bytes:
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(packed, MAX_BYTES + 1)
    except zlib.error as error:
        raise _broken(origin, f"is no gzip file ({error})") from error
    if len(data) > MAX_BYTES:
        raise _broken(origin, f"has more than {MAX_BYTES} bytes when it is unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise _broken(origin, "is not one whole gzip file")
    return data


def _numbers(registry: Registry, name: str) -> list[int]:
    found = registry.store.children(f"{name}/evaluation")
    return sorted(int(number) for number in found if is_version(number))


def _folder(name: str, number: int) -> str:
    return f"{name}/evaluation/{number}"


def _broken(origin: str, what: str) -> RegistryError:
    message = f"{origin} {what}; publish the set again with `anoean models evaluation set`"
    return RegistryError(message)
