"""The flows of which two models say different things, as cards of the page of ``anoean models diff``."""

import math
from html import escape
from typing import Any, Final

from anoean_stream.cli.models_diff_words import names

_GAUGE_DECADES: Final = 1.0
"""Decades below and above the threshold that a gauge shows; farther scores stand at its end."""


def flows(document: dict[str, Any]) -> str:
    """Return the section with the flows, both kinds; everything from records is escaped."""
    first, second = names(document)
    sections = []
    for kind, name, css in (
        ("only_champion", first, "a"),
        ("only_candidate", second, "b"),
    ):
        examples = [one for one in document["examples"] if one["kind"] == kind]
        total = document["champion_alerts" if kind == "only_champion" else "candidate_alerts"]
        total -= document["both_alerts"]
        heading = f'Only <span class="{css}">{escape(name)}</span> alerts'
        if not examples:
            sections.append(
                f"<h3>{heading}</h3><p>{'None.' if not total else 'None is shown.'}</p>"
            )
            continue
        cards = "".join(_card(example, document) for example in examples)
        sections.append(f'<h3>{heading}: {total:,} flows</h3><div class="cards">{cards}</div>')
    return (
        "<section><h2>Where they disagree most</h2>"
        '<p class="note">Each bar of a gauge is a score against its threshold (the mark in the middle; '
        f"the ends are {10**_GAUGE_DECADES:g} times below and above). Below it: the fields that "
        "move that model's score, by how much the score would fall if the field had its usual value. "
        "Of flows that are alike (same service and flags, same fields named first) one is shown; the "
        f"200 largest disagreements of each kind are looked at.</p>{''.join(sections)}</section>"
    )


def _card(example: dict[str, Any], document: dict[str, Any]) -> str:
    first, second = names(document)
    flow = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(_value(value))}</dd></div>"
        for name, value in example["flow"].items()
    )
    opinions = "".join(
        _opinion(example[who], name=name, css=css)
        for who, name, css in (("champion", first, "a"), ("candidate", second, "b"))
    )
    if document["input"]["kind"] == "file":
        where = f"{example['topic']}, row {example['offset'] + 1}"
    else:
        where = f"{example['topic']} / {example['partition']} / {example['offset']}"
    others = f"<span>and {example['like_it']:,} like it</span>" if example["like_it"] else ""
    return (
        f'<article><p class="where"><span>{escape(where)}</span>{others}</p>'
        f'<dl class="flow">{flow or "<div><dd>no field with a known name</dd></div>"}</dl>'
        f'<div class="opinions">{opinions}</div></article>'
    )


def _opinion(opinion: dict[str, Any], *, name: str, css: str) -> str:
    score, threshold = opinion["score"], opinion["threshold"]
    alerts = score > threshold
    times = f" ({_times(score / threshold)} times)" if threshold > 0 else ""
    shifts = opinion["explanation"]
    largest = max((shift["contribution"] for shift in shifts), default=1.0)
    bars = "".join(_bar(shift, largest=largest) for shift in shifts)
    return (
        f'<div class="opinion {css}"><p class="says"><b>{escape(name)}</b> '
        f"{'alerts' if alerts else 'does not alert'}</p>"
        f"{_gauge(score, threshold)}"
        f'<p class="score">{number(score)} against {number(threshold)}{times}</p>'
        f'<ul class="bars">{bars or "<li>no single field moves the score</li>"}</ul></div>'
    )


def _gauge(score: float, threshold: float) -> str:
    """Return a bar from the left end; the threshold is the middle."""
    decades = _GAUGE_DECADES
    if score > 0 and threshold > 0:
        decades = min(max(math.log10(score / threshold), -_GAUGE_DECADES), _GAUGE_DECADES)
    elif score <= 0:
        decades = -_GAUGE_DECADES
    width = 50 + 50 * decades / _GAUGE_DECADES
    return f'<div class="gauge"><i style="width:{width:.1f}%"></i></div>'


def _bar(shift: dict[str, Any], *, largest: float) -> str:
    width = 100 * shift["contribution"] / largest
    low, usual, high = (shift[key] for key in ("normal_p5", "normal_p50", "normal_p95"))
    usually = (
        f"usually {_value(usual)}" if low is None or low == high else f"usually {_value(low)} to {_value(high)}"
    )  # fmt: skip
    return (
        f'<li><b>{escape(shift["feature"])}</b><span class="by">{number(shift["contribution"])}</span>'
        f"<small>{escape(_value(shift['value']))}, {escape(usually)}</small>"
        f'<i style="width:{width:.1f}%"></i></li>'
    )


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if 0.1 <= ratio < 10 else f"{ratio:.2g}"  # noqa: PLR2004  a flow just above must not read as 1


def number(value: float) -> str:
    """Return a figure in four digits, as the page writes it."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004  beyond, four digits become powers of ten


def _value(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
