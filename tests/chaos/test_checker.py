"""The checker sees each kind of damage: a suite whose checker cannot fail proves nothing."""

from dataclasses import replace

import pytest

from tests.chaos.checker import Evidence, Output, reconcile
from tests.chaos.traffic import Published

N = 20
PUBLISHED = tuple(Published(n, n % 2, n // 2, b"%d" % n) for n in range(N))


def alert(number: int, **changes: object) -> Output:
    made = Output(
        number=number, partition=number % 2, offset=number // 2, lane=("alerts", number % 2),
        appended_ms=1000 + number, alert_id=f"id-{number}",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]  # the test knows the fields


def letter(number: int, **changes: object) -> Output:
    made = alert(number, lane=("dlq", 0), alert_id=None, value=b"%d" % number)
    return replace(made, **changes)  # type: ignore[arg-type]


WHOLE = Evidence(
    published=PUBLISHED,
    outputs=(*(alert(n) for n in range(15)), *(letter(n) for n in range(15, N))),
    committed={0: 10, 1: 10},
    ends={0: 10, 1: 10},
)


def test_a_whole_run_has_nothing_to_note() -> None:
    tally = reconcile(WHOLE)

    assert (tally.records, tally.scored, tally.dead) == (N, 15, 5)
    assert tally.notes == ()
    assert tally.missing == tally.unaccounted == tally.repeated == tally.out_of_order == 0
    assert tally.stall_s == pytest.approx(0.001)


def test_a_record_without_an_output_is_missing() -> None:
    tally = reconcile(replace(WHOLE, outputs=[one for one in WHOLE.outputs if one.number != 4]))

    assert (tally.missing, tally.missing_numbers) == (1, frozenset({4}))
    assert "records missing: 4" in tally.notes[0]


def test_a_repeat_is_counted_and_is_not_out_of_order() -> None:
    tally = reconcile(replace(WHOLE, outputs=(*WHOLE.outputs, alert(3), letter(16))))

    assert (tally.repeated, tally.out_of_order, tally.unaccounted) == (2, 0, 0)


def test_a_first_output_behind_a_later_record_is_out_of_order() -> None:
    outputs = list(WHOLE.outputs)
    outputs[2], outputs[4] = outputs[4], outputs[2]

    assert reconcile(replace(WHOLE, outputs=outputs)).out_of_order == 1


@pytest.mark.parametrize(
    "wrong",
    [
        alert(3, alert_id="another"),  # the id changed on the repeat
        alert(99, partition=0, offset=99),  # about no record
        alert(3, offset=7),  # names one record, carries another
        letter(3),  # both scored and dead
        letter(16, value=b"cut"),  # not the original's bytes
    ],
)
def test_an_output_that_does_not_fit_is_unaccounted(wrong: Output) -> None:
    assert reconcile(replace(WHOLE, outputs=(*WHOLE.outputs, wrong))).unaccounted == 1


def test_offsets_that_are_not_committed_or_went_back_are_unaccounted() -> None:
    assert reconcile(replace(WHOLE, committed={0: 10, 1: 9})).unaccounted == 1
    assert reconcile(replace(WHOLE, commits_back=["[0] 10 -> 4"])).unaccounted == 1


def test_what_retention_took_must_be_told_by_the_worker() -> None:
    unread = [one for one in WHOLE.outputs if one.number not in {0, 1, 2}]
    taken = replace(WHOLE, outputs=unread, kept=frozenset(range(3, N)))

    assert reconcile(replace(taken, n_told_lost=3)).unaccounted == 0
    silent = reconcile(taken)
    assert (silent.missing, silent.unaccounted) == (0, 3)


def test_a_record_that_still_stands_in_the_topic_is_missing_all_the_same() -> None:
    unread = [one for one in WHOLE.outputs if one.number != 5]

    assert reconcile(replace(WHOLE, outputs=unread, kept=frozenset(range(N)))).missing == 1
