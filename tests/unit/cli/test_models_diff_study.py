"""What a study keeps to show, and where along the input it counts."""

import dataclasses

import pytest

from anoean_stream.cli.models_diff_study import Study
from tests.support.models import make_rows
from tests.support.pipelines import make_chunk, make_pipeline


def study(**options: int) -> Study:
    return Study(
        make_pipeline("1", rate=1.0),  # everything alerts
        make_pipeline("2", seed=1, rate=0.002),
        max_examples=options.get("max_examples", 5),
    )


def test_of_flows_that_are_alike_one_is_shown_and_the_others_are_counted() -> None:
    (row,) = make_rows(1, seed=4)
    (other,) = make_rows(1, seed=5)
    compared = study()
    compared.add(make_chunk([row | {"dst_port": 443}] * 30 + [other | {"dst_port": 22}] * 3))

    examples = compared.document()["examples"]

    assert sorted((one["flow"]["dst_port"], one["like_it"]) for one in examples) == [
        (22, 2),
        (443, 29),
    ]


@pytest.mark.parametrize("most", [0, 1])
def test_no_more_sorts_are_shown_than_wanted(most: int) -> None:
    rows = make_rows(20, seed=4)
    compared = study(max_examples=most)
    compared.add(make_chunk([row | {"dst_port": port} for port, row in enumerate(rows)]))

    assert len(compared.document()["examples"]) == most


def test_records_without_a_time_are_left_out_of_the_times_only() -> None:
    chunk = make_chunk(make_rows(10), first_timestamp_ms=1000)
    later = dataclasses.replace(chunk, timestamps_ms=[-1] * 4 + [5000] * 6)
    compared = study()
    compared.add(chunk)
    compared.add(later)

    document = compared.document()

    assert document["records"] == 20
    assert sum(document["plots"]["alert_rate"]["records"]) == 16
    assert document["record_times"] == ["1970-01-01T00:00:01.000Z", "1970-01-01T00:00:05.000Z"]


def test_time_is_not_compared_by_a_few_chunks() -> None:
    compared = study()
    ratios = []
    for number in range(8):
        compared.add(make_chunk(make_rows(20, seed=number)))
        ratios.append(compared.document()["time_ratio"])

    assert ratios[:7] == [None] * 7
    assert len(ratios[7]) == 3
    assert ratios[7] == sorted(ratios[7])
