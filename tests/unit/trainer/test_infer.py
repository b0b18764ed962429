"""Which columns become features, and the reason for each that does not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from anoean_stream.errors import ConfigError, DataError
from anoean_stream.features.fit import FieldSpec
from trainer.datasets.features_file import FeaturesFile, read_features_file
from trainer.datasets.files import labelled
from trainer.datasets.infer import infer_fields
from trainer.datasets.naming import is_code, reason_to_leave_out
from trainer.datasets.table import LabelledTable, read_columns

N_ROWS = 200
RNG = np.random.default_rng(0)


def table_of(**columns: Sequence[object]) -> LabelledTable:
    labels = ["ok" if row % 4 else "dos" for row in range(N_ROWS)]
    rows = [
        {name: cells[row] for name, cells in columns.items()} | {"label": labels[row]}
        for row in range(N_ROWS)
    ]
    read = read_columns(rows, name="test", max_rows=10_000)
    return labelled("test", read, label=read.pop("label"), normal_value="ok")


NUMBERS = RNG.lognormal(5, 2, N_ROWS).round(3).tolist()
WORDS = RNG.choice(["tcp", "udp", "icmp"], N_ROWS).tolist()


def kinds(table: LabelledTable) -> dict[str, str]:
    return {spec.name: spec.kind for spec in infer_fields(table).specs}


def reasons(table: LabelledTable) -> dict[str, str]:
    return {field.name: field.reason for field in infer_fields(table).excluded}


def test_numbers_flags_and_categories_are_told_apart() -> None:
    table = table_of(
        bytes=NUMBERS,
        text_number=[f" {value} " for value in NUMBERS],
        syn=[row % 2 for row in range(N_ROWS)],
        retried=["True" if row % 3 else "false" for row in range(N_ROWS)],
        state=WORDS,
        protocol=[(6, 17, 1)[row % 3] for row in range(N_ROWS)],
        tcp_flags=[row % 32 for row in range(N_ROWS)],
    )

    assert kinds(table) == {
        "bytes": "number",
        "text_number": "number",
        "syn": "flag",
        "retried": "flag",
        "state": "category",
        "protocol": "category",
        "tcp_flags": "category",
    }


def test_each_column_that_is_no_feature_has_its_reason() -> None:
    unique = [f"C{number:08x}" for number in RNG.permutation(N_ROWS)]
    table = table_of(
        bytes=NUMBERS,
        always_7=[7] * N_ROWS,
        never=[""] * N_ROWS,
        seven_or_gap=["7" if row % 2 else "" for row in range(N_ROWS)],
        uid=unique,
        comment=unique,
        peer=[f"10.0.0.{row % 250}" for row in range(N_ROWS)],
        hardware=[f"00:11:22:33:44:{row % 99:02d}" for row in range(N_ROWS)],
        src_port=[40_000 + row * 7 % 999 for row in range(N_ROWS)],
        seen=[1_700_000_000 + row * 3 % 100 for row in range(N_ROWS)],
        seen_ms=[1_700_000_000_000 + row * 3 % 100 for row in range(N_ROWS)],
        when=[f"2026-01-{1 + row % 28:02d} 10:00:{row % 60:02d}" for row in range(N_ROWS)],
        counter=list(range(N_ROWS)),
        attack_cat=WORDS,
    )

    assert kinds(table) == {"bytes": "number"}
    found = reasons(table)
    assert found["always_7"] == "constant"
    assert found["never"] == "no values"
    assert found["seven_or_gap"] == "constant but for gaps"
    assert "identifier" in found["uid"]
    assert "hardly a value comes twice" in found["comment"]
    assert "address" in found["peer"]
    assert "address" in found["hardware"]
    assert "source port" in found["src_port"]
    for name in ("seen", "seen_ms", "when"):
        assert "time stamp" in found[name]
    assert "counts the rows" in found["counter"]
    assert "answer" in found["attack_cat"]


def test_a_column_that_the_header_names_twice_is_used_once() -> None:
    same, other = NUMBERS, NUMBERS[::-1]
    table = table_of(**{"len": same, "len.1": same, "len.2": other})

    assert kinds(table) == {"len": "number", "len.2": "number"}
    assert "a copy of 'len'" in reasons(table)["len.1"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("IPV4_SRC_ADDR", "address"),
        ("id.orig_h", "address"),
        ("Src IP", "address"),
        ("dest_ip", "address"),
        ("srcIp", "address"),
        ("ip_src", "address"),
        ("Source Port", "source port"),
        ("id.orig_p", "source port"),
        ("L4_SRC_PORT", "source port"),
        ("ts", "time stamp"),
        ("Timestamp", "time stamp"),
        ("bidirectional_first_seen_ms", "time stamp"),
        ("time_flow_start_ns", "time stamp"),
        ("flow_id", "identifier"),
        ("Flow ID", "identifier"),
        ("community_id", "identifier"),
        ("Unnamed: 0", "identifier"),
        ("is_attack", "answer"),
        ("Label", "answer"),
        ("Attack", "answer"),
        ("detailed-label", "answer"),
        ("difficulty", "answer"),
    ],
)
def test_names_of_common_exporters_are_recognised(name: str, word: str) -> None:
    assert word in (reason_to_leave_out(name) or "")


@pytest.mark.parametrize(
    "name",
    [
        "Flow Duration", "FLOW_DURATION_MILLISECONDS", "Flow IAT Mean", "Fwd Header Length", "hot",
        "Total Fwd Packets", "IN_BYTES", "src_bytes", "dst_bytes", "dst_host_count", "count",
        "land", "Idle Max", "Active Min", "orig_pkts", "SRC_TO_DST_AVG_THROUGHPUT", "service",
        "dst_host_same_src_port_rate", "Init_Win_bytes_forward", "is_guest_login", "flag",
        "dst_port", "Destination Port", "duration", "history", "srv_diff_host_rate", "label_count",
    ],
)  # fmt: skip
def test_names_of_features_say_nothing_against_them(name: str) -> None:
    assert reason_to_leave_out(name) is None


def test_amounts_are_no_codes() -> None:
    assert is_code("PROTOCOL")
    assert is_code("ICMP_TYPE")
    assert is_code("id.resp_p")
    assert not is_code("FIN Flag Count")
    assert not is_code("MAX_IP_PKT_LEN")


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_column_that_alone_gives_the_answer_away_is_warned_of(kind: str) -> None:
    answers = [row % 4 for row in range(N_ROWS)]
    cells = [0.5 if answer else 7.25 + row for row, answer in enumerate(answers)]
    if kind == "category":
        table = table_of(bytes=NUMBERS, hint=["x" if answer else "y" for answer in answers])
    else:
        table = table_of(bytes=NUMBERS, hint=cells)

    warnings = infer_fields(table).warnings

    assert len(warnings) == 1
    assert "'hint' alone tells every anomaly from every normal row" in warnings[0]


def test_a_features_file_has_the_last_word() -> None:
    table = table_of(bytes=NUMBERS, port=[80, 443] * (N_ROWS // 2), src_ip=WORDS, state=WORDS)
    features = FeaturesFile(
        fields={
            "port": FieldSpec("port", "category"),
            "src_ip": FieldSpec("src_ip", "category"),
            "bytes": FieldSpec("bytes", "number", log1p=False, unit="B"),
        },
        drop=("state",),
    )

    inferred = infer_fields(table, features=features)

    assert {spec.name: spec.kind for spec in inferred.specs} == {
        "bytes": "number",
        "port": "category",
        "src_ip": "category",
    }
    assert inferred.specs[0] == FieldSpec("bytes", "number", log1p=False, unit="B")
    assert [(field.name, field.reason) for field in inferred.excluded] == [
        ("state", "dropped by the features file")
    ]


def test_what_a_features_file_does_not_name_can_be_left_out() -> None:
    table = table_of(bytes=NUMBERS, state=WORDS)
    features = FeaturesFile(fields={"bytes": FieldSpec("bytes", "number")}, rest="drop")

    inferred = infer_fields(table, features=features)

    assert [spec.name for spec in inferred.specs] == ["bytes"]
    assert inferred.excluded[0].reason == "not named by the features file"


def test_a_features_file_cannot_name_what_is_not_there() -> None:
    features = FeaturesFile(drop=("byts",))

    with pytest.raises(DataError, match=r"names \['byts'\], which test does not have .* bytes"):
        infer_fields(table_of(bytes=NUMBERS), features=features)


def test_a_column_said_to_be_a_number_must_hold_numbers() -> None:
    features = FeaturesFile(fields={"state": FieldSpec("state", "number")})

    with pytest.raises(DataError, match=r"column 'state', row 1: expected a number"):
        infer_fields(table_of(bytes=NUMBERS, state=WORDS), features=features)


def test_a_table_without_a_feature_is_refused_with_all_reasons() -> None:
    with pytest.raises(DataError, match=r"no column is left to learn from \(src_ip: an address"):
        infer_fields(table_of(src_ip=WORDS))


def test_a_features_file_is_read_in_its_short_and_its_long_form(tmp_path: Path) -> None:
    path = tmp_path / "features.yaml"
    path.write_text(
        "fields:\n"
        "  bytes: {kind: number, log1p: true, unit: bytes}\n"
        "  established: flag\n"
        "drop: [comment]\n"
        "rest: drop\n"
    )

    features = read_features_file(path)

    assert features.fields == {
        "bytes": FieldSpec("bytes", "number", log1p=True, unit="bytes"),
        "established": FieldSpec("established", "flag"),
    }
    assert (features.drop, features.rest) == (("comment",), "drop")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected the keys fields, drop, rest"),
        ("- a\n", "expected the keys"),
        ("field: {a: flag}\n", "unknown key 'field'"),
        ("fields: {a: text}\n", "field 'a': kind is str 'text', expected number, category, flag"),
        ("fields: {a: {kind: flag, log1p: true}}\n", "log1p is bool True"),
        ("fields: {a: {kind: number, units: s}}\n", "unknown option 'units'"),
        ("fields: {a: {kind: number, unit: 3}}\n", "unit is int 3"),
        ("fields: [a]\n", "fields must map names to kinds"),
        ("drop: a\n", "drop must be a list"),
        ("drop: [a]\nrest: keep\n", "rest is str 'keep', expected infer or drop"),
        ("fields: {a: flag}\ndrop: [a]\n", r"\['a'\] are under fields and under drop"),
        ("fields: {a: [\n", "is no YAML"),
    ],
)
def test_a_features_file_that_is_not_understood_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "features.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=complaint):
        read_features_file(path)


def test_a_features_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the features file"):
        read_features_file(tmp_path / "absent.yaml")
