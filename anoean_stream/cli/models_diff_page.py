"""The page of ``anoean models diff``: one file that needs no other, for a screen, a phone and paper.

Everything that comes from records, models or file names is escaped; there is no script.
"""

from html import escape
from typing import Any, Final

from anoean_stream.cli.models_diff_cards import flows, number
from anoean_stream.cli.models_diff_style import STYLE
from anoean_stream.cli.models_diff_words import Remark, headline, names, remarks

_TONES: Final = {"better": "better", "worse": "worse", "same": "alike", "open": "your call"}

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
<style>{STYLE}</style>
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
{flows(document)}
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
        ("threshold", number(document["a"]["threshold"]), number(document["b"]["threshold"])),
        ("where it comes from", document["a"]["threshold_from"], document["b"]["threshold_from"]),
        *(
            (
                f"score, {name.replace('p', 'percentile ') if name != 'max' else 'largest'}",
                number(document["champion_quantiles"][name]),
                number(document["candidate_quantiles"][name]),
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


def _moment(rfc3339: str) -> str:
    return rfc3339[:19].replace("T", " ")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"
