"""Any change of any file of a bundle: a BundleError or a model that scores, and nothing else."""

import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.detector.bundle import (
    CALIBRATION,
    CONTRACT,
    FILES,
    GOLDEN,
    MANIFEST,
    MAX_BYTES,
    WEIGHTS,
    FileDigest,
    Manifest,
    read_bundle,
)
from anoean_stream.errors import BundleError
from anoean_stream.features.contract import MAX_FIELDS, MAX_WORDS
from anoean_stream.pipeline import verify_bundle
from tests.support.fuzzing import fuzz
from tests.support.hostile import Edit, edited, edits
from tests.support.models import make_bundle

Files = dict[str, bytes]


class Intact(Files):
    """A whole bundle; in hypothesis' report of a failure it is a word and not 60 KB."""

    def __repr__(self) -> str:
        return "intact"


_JSON_FILES: Final = (MANIFEST, CONTRACT, GOLDEN)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return Intact({file: (folder / file).read_bytes() for file in FILES})


def load(files: Files) -> str:
    """Do what a worker does with a new version; return the refusal, or nothing."""
    try:
        verify_bundle(read_bundle(files, origin="models/edge/versions/7"))
    except BundleError as error:
        sentence = str(error)
    else:
        sentence = ""
    assert len(sentence) < 3000
    return sentence


def resealed(files: Files) -> Files:
    """Make size, sha256, contract id and digest right again, as somebody who can compute them does."""
    try:
        manifest = msgspec.json.decode(files[MANIFEST])
        manifest["files"] = {file: FileDigest.of(files[file]) for file in FILES[1:]}
        manifest["contract_id"] = FileDigest.of(files[CONTRACT]).sha256
        sealed = msgspec.convert(manifest, Manifest).sealed()
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, RecursionError):
        return files
    return files | {MANIFEST: sealed.to_json()}


def rewritten(file: str, data: bytes) -> bytes:
    """Bring a contract into the canonical form, so that the check of its identity is passed."""
    if file != CONTRACT:
        return data
    try:
        return msgspec.json.encode(msgspec.json.decode(data), order="sorted")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return data


@fuzz(250)
@given(file=st.sampled_from(FILES), todo=edits)
def test_bytes_changed_in_any_file(intact: Files, file: str, todo: list[Edit]) -> None:
    changed = edited(intact[file], todo)

    refusal = load(intact | {file: changed})

    assert refusal or changed == intact[file] or file == MANIFEST


@fuzz(400)
@given(file=st.sampled_from(FILES[1:]), todo=edits)
def test_bytes_changed_and_the_digests_made_again(
    intact: Files, file: str, todo: list[Edit]
) -> None:
    changed = edited(intact[file], todo)

    load(resealed(intact | {file: rewritten(file, changed)}))


_leaves: st.SearchStrategy[Any] = st.sampled_from(
    (
        None, True, 0, -1, 2**31, 2**63, 2**64, 10**30, 1e308, -1e308, 5e-324, 0.5, "", "x", "\0",
        "../../etc/passwd", "x" * 2000, "[/bold]", [], {}, [[]], [None], {"": {}},
        "NaN", "\N{ZERO WIDTH SPACE}", "1", ["a"] * 50,
    )
).map(deepcopy)  # fmt: skip  # they are changed where they are put in


def _places(node: object, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: list[Any] = []
    if isinstance(node, dict):
        keys = list(node)
    elif isinstance(node, list):
        keys = list(range(min(len(node), 4)))
    here = [(*above, key) for key in keys]
    return here + [
        place
        for key in keys
        for place in _places(node[key], (*above, key))  # type: ignore[index]  # dict or list
    ]


@fuzz(500)
@given(data=st.data())
def test_json_with_another_value_a_missing_key_or_one_too_many(
    intact: Files, data: st.DataObject
) -> None:
    file = data.draw(st.sampled_from(_JSON_FILES))
    document = json.loads(intact[file])
    for _ in range(data.draw(st.integers(1, 3))):
        places = _places(document)
        if not places:
            break
        *above, key = data.draw(st.sampled_from(places))
        node = document
        for step in above:
            node = node[step]
        kind = data.draw(st.sampled_from(("set", "set", "drop", "add", "swap")))
        if kind == "drop":
            del node[key]
        elif kind == "set":
            node[key] = data.draw(_leaves)
        elif kind == "swap" and isinstance(node, dict):
            other = data.draw(st.sampled_from(sorted(node)))
            node[key], node[other] = node[other], node[key]
        elif isinstance(node, dict):
            node[data.draw(st.sampled_from(("x", "", "\0", "files")))] = data.draw(_leaves)
        else:
            node.append(data.draw(_leaves))
    changed = json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass")

    load(resealed(intact | {file: rewritten(file, changed)}))


@fuzz(300)
@given(data=st.data())
def test_tensors_of_another_type_shape_value_or_place(intact: Files, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from((WEIGHTS, CALIBRATION)))
    size = struct.unpack("<Q", intact[file][:8])[0]
    header = json.loads(intact[file][8 : 8 + size])
    body = intact[file][8 + size :]
    numbers = st.sampled_from((0, 1, 3, 16, -1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 0.5))
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(header)))
        entry = header[name]
        kind = data.draw(st.sampled_from(("shape", "offsets", "dtype", "rename", "drop", "whole")))
        if kind == "shape":
            entry["shape"] = data.draw(st.lists(numbers, max_size=4))
        elif kind == "offsets":
            entry["data_offsets"] = data.draw(st.lists(numbers, max_size=3))
        elif kind == "dtype":
            entry["dtype"] = data.draw(
                st.sampled_from(
                    ("F64", "F16", "BF16", "F8_E4M3", "F4", "I64", "U8", "BOOL", "C64", "")
                )
            )
        elif kind == "rename":
            header[data.draw(st.sampled_from(("x", "", "scores", "hidden.3.weight")))] = entry
        elif kind == "drop":
            del header[name]
        else:
            header[name] = data.draw(_leaves)
        header = {key: value for key, value in header.items() if isinstance(value, dict)} or {
            "x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        }
        for value in header.values():
            value.setdefault("shape", [])
    text = json.dumps(header).encode()
    length = data.draw(
        st.just(len(text)) | st.sampled_from((0, 2**63, 2**64 - 1, len(text) + 1, 100_000_000))
    )

    load(resealed(intact | {file: struct.pack("<Q", length) + text + body}))


def tensors_with(intact: Files, **changes: Any) -> Files:
    tensors = safetensors.numpy.load(intact[WEIGHTS])
    tensors.update({name.replace("__", "."): value for name, value in changes.items()})
    return resealed(intact | {WEIGHTS: safetensors.numpy.save(tensors)})


def zeros(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(shape, dtype=np.float32)


def many_layers(intact: Files) -> Files:
    layers = {f"hidden.{n}.weight": zeros(4, 4) for n in range(3, 20_000)}
    layers |= {f"hidden.{n}.bias": zeros(4) for n in range(3, 20_000)}
    return tensors_with(intact, **layers)


def contract_with(intact: Files, change: Callable[[dict[str, Any]], None]) -> Files:
    document = json.loads(intact[CONTRACT])
    change(document)
    return resealed(intact | {CONTRACT: rewritten(CONTRACT, json.dumps(document).encode())})


def many_words(intact: Files) -> Files:
    words = [f"{n:x}w" for n in range(MAX_WORDS + 1)]
    return contract_with(
        intact, lambda document: document["categories"][0].update(vocabulary=words)
    )


def many_fields(intact: Files) -> Files:
    def add(document: dict[str, Any]) -> None:
        flag = document["flags"][0]
        document["flags"] = [flag | {"name": f"f{n}"} for n in range(MAX_FIELDS + 1)]

    return contract_with(intact, add)


def many_golden_records(intact: Files) -> Files:
    batch = {"records": ["{}"] * 1_000_000, "scores": [1.0] * 1_000_000}
    return resealed(intact | {GOLDEN: msgspec.json.encode(batch)})


def long_header(intact: Files) -> Files:
    text = b'{"x":{"dtype":"F32","shape":[' + b"1," * 50_000_000 + b'1],"data_offsets":[0,4]}}'
    return resealed(intact | {WEIGHTS: struct.pack("<Q", len(text)) + text + b"\0" * 4})


def wide_layer(intact: Files) -> Files:
    # 100 MB of weights that would make 40 GB of latents of one chunk.
    wide = zeros(1, 10_000_000)
    return tensors_with(
        intact,
        hidden__3__weight=zeros(4, 1),
        hidden__3__bias=zeros(1),
        hidden__4__weight=wide,
        hidden__4__bias=wide[0],
    )


def deep_training(intact: Files) -> Files:
    head, tail = intact[MANIFEST].split(b'"training": {')
    return intact | {MANIFEST: head + b'"training": {"x":' + b"[" * 900 + b"]" * 900 + b"," + tail}


def latent_dimensions(intact: Files) -> Files:
    manifest = Manifest.from_json(intact[MANIFEST], origin="")
    changed = msgspec.structs.replace(manifest, latent_dim=10**9).sealed()
    return intact | {MANIFEST: changed.to_json()}


def endless(file: str) -> Callable[[Files], Files]:
    def make(intact: Files) -> Files:
        longer = {file: intact[file] + b" " * MAX_BYTES[file]}
        return intact | longer if file == MANIFEST else resealed(intact | longer)

    return make


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (many_words, "words"),
        (many_fields, "fields"),
        (many_golden_records, GOLDEN),
        (many_layers, "64 layers"),
        (long_header, "header"),
        (wide_layer, "65536 units"),
        (deep_training, MANIFEST),
        (latent_dimensions, "1000000000 latent dimensions"),
        *((endless(file), "bytes or more, allowed are") for file in FILES),
    ],
)
def test_what_is_too_much_is_refused_in_bounded_time_and_memory(
    intact: Files, attack: Callable[[Files], Files], named: str
) -> None:
    files = attack(intact)
    tracemalloc.start()
    began = time.process_time()
    try:
        refusal = load(files)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert named in refusal
    assert len(refusal) < 3000
    # tracemalloc makes it several times slower.
    assert time.process_time() - began < 10
    assert peak_bytes < 400 * 2**20


def test_every_depth_of_a_manifest_is_read_or_refused(intact: Files) -> None:
    head, tail = intact[MANIFEST].split(b'"training": {')
    for depth in range(850, 1010):
        nested = b"[" * depth + b"]" * depth
        load(intact | {MANIFEST: head + b'"training": {"x":' + nested + b"," + tail})
        load(intact | {GOLDEN: nested, CONTRACT: nested})
        load(resealed(intact | {GOLDEN: nested, CONTRACT: nested}))
