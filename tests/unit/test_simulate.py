"""Made-up traffic: repeatable, with labels beside it, and no single field that gives attacks away."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OrdinalEncoder

from anoean_stream.simulate import ATTACK_KINDS, BREAKAGES, Simulator, break_value

NUMBERS = ("duration_s", "bytes_fwd", "bytes_bwd", "pkts_fwd", "pkts_bwd", "iat_mean_ms", "ttl")
WORDS = ("proto", "service", "direction", "conn_state")


def flows(n: int, **arguments: object) -> list[tuple[dict[str, object], str | None]]:
    simulator = Simulator(**{"seed": 1, **arguments})  # type: ignore[arg-type]
    return [(flow.record, flow.attack) for flow in simulator.flows(n)]


def test_same_seed_gives_the_same_flows_and_another_gives_others() -> None:
    assert flows(3000) == flows(3000)
    assert flows(3000) != flows(3000, seed=2)


def test_flows_in_parts_are_the_flows_at_once() -> None:
    endless = Simulator(seed=1).flows()

    parts = [*islice(endless, 1000), *islice(endless, 2000)]

    assert [(flow.record, flow.attack) for flow in parts] == flows(3000)


def test_records_hold_no_answer_and_labelled_ones_do() -> None:
    flow = next(flow for flow in Simulator(seed=1, attack_share=0.5).flows() if flow.attack)

    assert {"label", "attack"}.isdisjoint(flow.record)
    assert flow.labelled() == {**flow.record, "label": 1, "attack": flow.attack}
    assert str(flow.attack) not in json.dumps(flow.record)


def test_only_the_attacks_asked_for_occur_at_about_their_share() -> None:
    kinds = Counter(attack for _, attack in flows(20_000, attacks=["port_scan"], attack_share=0.1))

    assert set(kinds) == {None, "port_scan"}
    assert 0.08 < kinds["port_scan"] / 20_000 < 0.12


def test_some_fields_are_absent_or_null_as_exporters_leave_them() -> None:
    records = [record for record, _ in flows(5000)]

    assert any("iat_mean_ms" not in record for record in records)
    assert any(record["service"] is None for record in records)


@pytest.mark.parametrize("kind", ATTACK_KINDS)
def test_no_single_number_separates_a_kind_but_a_classifier_does(kind: str) -> None:
    sample = flows(24_000, attacks=[kind], attack_share=0.2)
    truth = np.array([attack is not None for _, attack in sample])
    columns = {
        name: np.array([float(record.get(name) or 0) for record, _ in sample])  # type: ignore[arg-type]
        for name in NUMBERS
    }
    words = [[str(record.get(name)) for name in WORDS] for record, _ in sample]
    features = np.column_stack([*columns.values(), OrdinalEncoder().fit_transform(words)])
    half = len(sample) // 2

    alone = {name: roc_auc_score(truth, column) for name, column in columns.items()}
    trees = HistGradientBoostingClassifier(random_state=0).fit(features[:half], truth[:half])
    together = roc_auc_score(truth[half:], trees.predict_proba(features[half:])[:, 1])

    assert max(max(auc, 1 - auc) for auc in alone.values()) < 0.999
    assert together > 0.95


def test_broken_records_are_broken_in_every_way() -> None:
    rng = np.random.default_rng(0)
    value = json.dumps({"bytes_fwd": 10, "proto": "tcp"}).encode()

    broken = {break_value(value, rng=rng) for _ in range(200)}

    assert len(broken) == len(BREAKAGES)
    assert value not in broken


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"attacks": ["ddos"]}, "unknown attack 'ddos'; known are: port_scan"),
        ({"attack_share": 1.5}, "attack_share is 1.5; expected 0 to 1"),
        ({"attacks": [], "attack_share": 0.1}, "no attack is named"),
        ({"flows_per_s": 0}, "flows_per_s is 0"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Simulator(**{"seed": 1, **arguments})  # type: ignore[arg-type]
