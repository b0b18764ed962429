"""The page of ``anoean models diff``: one file that needs no other, for a screen, a phone and paper.

Everything that comes from records, models or file names is escaped; there is no script.
"""

import math
from html import escape
from typing import Any, Final

from anoean_stream.cli.models_diff_words import Remark, headline, names, remarks

_TONES: Final = {"better": "better", "worse": "worse", "same": "alike", "open": "your call"}

_GAUGE_DECADES: Final = 1.0
"""Decades below and above the threshold that a gauge shows; farther scores stand at its end."""

_PLOTS: Final = (
    ("rate", "How often they alert"),
    ("scores", "How scores are spread"),
    ("scatter", "The same records, scored by both"),
    ("overlap", "Alerts in common, as the thresholds move"),
)

_CAPTIONS: Final = {
    "rate": "Share of the records above each model's threshold, along the input.",
    "scores": "Each score is divided by its model's threshold: right of the line is an alert. A model "
    "that keeps its bulk far left of the line tells normal from unusual with a margin.",
    "scatter": "Top right both alert. Top left and bottom right they disagree; far from the lines they "
    "do so with conviction, near them a threshold decides.",
    "overlap": "If both let the same share of records alert, how many of the alerts would be the same. "
    "It compares the rankings, whatever the thresholds are now.",
}


def page(document: dict[str, Any], *, title: str, plots: dict[str, str]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    document : dict
        From `Study.document`, with ``input``.
    title : str
        What was replayed, in few words.
    plots : dict of str to str
        ``<svg>`` elements, from `models_diff_plots.draw`.
    """
    first, second = names(document)
    model = document["a"]["model"]
    figures = "".join(
        f"<figure><h3>{heading}</h3>{plots[name]}<figcaption>{_CAPTIONS[name]}</figcaption></figure>"
        for name, heading in _PLOTS
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(f"{model}: {first} and {second}")}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<p class="over">anoean models diff</p>
<h1>{escape(model)}: <span class="a">{escape(first)}</span> against <span class="b">{escape(second)}</span></h1>
<p class="lead">{escape(headline(document))}</p>
<p class="sub">{escape(_replayed(document, title))}</p>
</header>
<section>
<h2>At a glance</h2>
<ul class="remarks">{"".join(map(_remark, remarks(document)))}</ul>
<p class="note">Whether an alert is an attack is not known here: a model that raises fewer alerts is
better only if what it leaves out was harmless. The flows below are where to look.</p>
</section>
<section>
<h2>Counts</h2>
{_table(document)}
</section>
<section>
<h2>Pictures</h2>
<div class="plots">{figures}</div>
{_sample_note(document)}
</section>
{_flows(document)}
<footer>Made by anoean {escape(document["anoean"])}, {escape(document["until"])}. The figures and
everything that is drawn are in diff.json beside this page.</footer>
</body>
</html>
"""


def _replayed(document: dict[str, Any], title: str) -> str:
    text = f"{document['records_read']:,} records of {title}"
    if document["record_times"]:
        begin, end = map(_moment, document["record_times"])
        text += f", from {begin} to {end} UTC"
    return f"{text}; {document['records']:,} scored by both."


def _remark(remark: Remark) -> str:
    return (
        f'<li class="{remark.tone}"><span class="tag">{_TONES[remark.tone]}</span>'
        f"<span>{escape(remark.text)}</span></li>"
    )


def _table(document: dict[str, Any]) -> str:
    first, second = names(document)
    records = document["records"]
    champion, candidate, both = (
        document[f"{who}_alerts"] for who in ("champion", "candidate", "both")
    )
    dead = {who: document[f"{who}_dead"] for who in ("champion", "candidate")}
    rows = [
        ("alerts", f"{champion:,}", f"{candidate:,}"),
        ("alerts, of the records scored by both", _share(champion, records), _share(candidate, records)),
        ("alerts that the other raises too", _share(both, champion), _share(both, candidate)),
        ("alerts of this model only", f"{champion - both:,}", f"{candidate - both:,}"),
        ("records that only the other can score", f"{dead['champion']:,}", f"{dead['candidate']:,}"),
        ("threshold", _number(document["a"]["threshold"]), _number(document["b"]["threshold"])),
        ("where it comes from", document["a"]["threshold_from"], document["b"]["threshold_from"]),
        *(
            (
                f"score, {name.replace('p', 'percentile ') if name != 'max' else 'largest'}",
                _number(document["champion_quantiles"][name]),
                _number(document["candidate_quantiles"][name]),
            )
            for name in document["champion_quantiles"]
        ),
        (
            "CPU time for a record, \u00b5s",
            f"{document['champion_us']:.2f}",
            f"{document['candidate_us']:.2f}",
        ),
        ("trained", _moment(document["a"]["trained_at"]), _moment(document["b"]["trained_at"])),
        ("feature contract", document["a"]["contract"][:8], document["b"]["contract"][:8]),
    ]  # fmt: skip
    body = "".join(
        f"<tr><th scope=row>{escape(head)}</th><td>{escape(one)}</td><td>{escape(other)}</td></tr>"
        for head, one, other in rows
    )
    return (
        f'<div class="wide"><table><thead><tr><td></td><th scope=col class="a">{escape(first)}</th>'
        f'<th scope=col class="b">{escape(second)}</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def _sample_note(document: dict[str, Any]) -> str:
    n_pairs = document["plots"]["sampled_pairs"]
    if n_pairs >= document["records"]:
        return ""
    return (
        f'<p class="note">The last two pictures and the rank correlation are of {n_pairs:,} records, '
        "drawn at random; everything else counts all of them.</p>"
    )


def _flows(document: dict[str, Any]) -> str:
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
        f'<p class="score">{_number(score)} against {_number(threshold)}{times}</p>'
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
        f'<li><b>{escape(shift["feature"])}</b><span class="by">{_number(shift["contribution"])}</span>'
        f"<small>{escape(_value(shift['value']))}, {escape(usually)}</small>"
        f'<i style="width:{width:.1f}%"></i></li>'
    )


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if 0.1 <= ratio < 10 else f"{ratio:.2g}"  # noqa: PLR2004  a flow just above must not read as 1


def _moment(rfc3339: str) -> str:
    return rfc3339[:19].replace("T", " ")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004  beyond, four digits become powers of ten


def _value(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_STYLE: Final = """
:root{--a:#1f5fa8;--b:#c25100;--ink:#1a1a1a;--soft:#5b5b5b;--line:#dcdcdc;--wash:#f6f6f4}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem 1.25rem 3rem;background:#fff;color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:.1rem 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.4rem 0 .8rem;padding-top:.8rem;border-top:2px solid var(--ink)}
h3{font-size:1rem;margin:1.4rem 0 .5rem}
p{margin:.4rem 0}
.over,.sub,.note,figcaption,footer,.where,small{color:var(--soft)}
.over{font-size:.85rem;letter-spacing:.04em}
.lead{font-size:1.25rem;line-height:1.4;max-width:48rem}
.note,figcaption{font-size:.875rem;max-width:48rem}
.a{color:var(--a)}.b{color:var(--b)}
.remarks{list-style:none;margin:0;padding:0}
.remarks li{display:flex;gap:.8rem;align-items:baseline;padding:.45rem 0;border-bottom:1px solid var(--line)}
.tag{flex:0 0 5.2rem;font-size:.8rem;text-align:center;border:1px solid currentColor;border-radius:1rem;
padding:.05rem .3rem;color:var(--soft)}
.better .tag{color:#1d6b2f;font-weight:700}.worse .tag{color:#a31616;font-weight:700}
.open .tag{color:var(--ink);font-weight:700}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}
th,td{text-align:right;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td{width:26%}tbody th{text-align:left;font-weight:400;padding-left:0;min-width:9.5rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:1.5rem 2rem}
figure{margin:0;break-inside:avoid}
figure h3{margin:.2rem 0 .4rem}
figure svg{display:block;width:100%;height:auto}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,32rem),1fr));gap:1rem}
article{border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;break-inside:avoid}
.where{display:flex;justify-content:space-between;gap:1rem;font-size:.8rem;margin:0 0 .5rem;overflow-wrap:anywhere;font-family:ui-monospace,Menlo,Consolas,monospace}
.flow{display:flex;flex-wrap:wrap;gap:.35rem 1.2rem;margin:0 0 .8rem;padding:.5rem .7rem;background:var(--wash);
border-radius:.35rem}
.flow dt{font-size:.72rem;color:var(--soft)}
.flow dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.opinions{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr));gap:.8rem 1.4rem}
.opinion{min-width:0}
.says{margin:0 0 .25rem;color:var(--ink)}
.opinion.a .says b{color:var(--a)}.opinion.b .says b{color:var(--b)}
.gauge{position:relative;height:.6rem;background:#ececec;border-radius:.3rem}
.gauge i{display:block;height:100%;border-radius:.3rem;background:var(--c)}
.gauge::after{content:"";position:absolute;left:50%;top:-.2rem;bottom:-.2rem;width:2px;background:var(--ink)}
.opinion.a{--c:var(--a)}.opinion.b{--c:var(--b)}
.score{font-size:.85rem;margin:.3rem 0 .5rem;color:var(--ink);font-variant-numeric:tabular-nums}
.bars{list-style:none;margin:0;padding:0;font-size:.78rem;color:var(--ink)}
.bars li{display:grid;grid-template-columns:1fr auto;gap:0 .5rem;margin:.45rem 0;line-height:1.35}
.bars b,.bars small{overflow-wrap:anywhere;min-width:0}.bars small{grid-column:1/-1;font-size:.75rem}
.bars .by{font-variant-numeric:tabular-nums}
.bars i{grid-column:1/-1;height:.28rem;border-radius:.14rem;background:var(--c);opacity:.75}
footer{margin-top:2.5rem;padding-top:.8rem;border-top:1px solid var(--line);font-size:.85rem}
@media(max-width:34rem){body{padding:1rem .9rem 2rem}h1{font-size:1.45rem}.lead{font-size:1.1rem}
.remarks li{flex-direction:column;gap:.2rem}.tag{flex:none;padding:.05rem .7rem}th,td{padding:.3rem .35rem}}
@media print{html{font-size:11px}body{max-width:none;padding:0}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.plots{grid-template-columns:1fr 1fr}.cards{grid-template-columns:1fr 1fr}h2,h3{break-after:avoid}}
"""
