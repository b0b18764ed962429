"""What a comparison of two models means, in sentences."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Tone = Literal["better", "worse", "same", "open"]
"""Of B against A; open is what only a person can judge."""

_ALIKE: Final = 1.2
"""Ratio of CPU times below which they are called alike: they vary by that from run to run."""

_RANKS_WELL: Final = 0.9
_MANY_IN_COMMON: Final = 0.8


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that the comparison shows.

    Parameters
    ----------
    tone : Tone
        Whether B is better or worse in it.
    text : str
        A sentence.
    """

    tone: Tone
    text: str


def names(document: dict[str, Any]) -> tuple[str, str]:
    """Return what A and B are called: by version, and by model too where that differs."""
    a, b = document["a"], document["b"]
    if a["model"] == b["model"]:
        return f"version {a['version']}", f"version {b['version']}"
    return f"{a['model']}@{a['version']}", f"{b['model']}@{b['version']}"


def headline(document: dict[str, Any]) -> str:
    """Return the whole comparison in one sentence."""
    first, second = names(document)
    clauses = [_more(document["champion_alerts"], document["candidate_alerts"], first)]
    either = document["champion_alerts"] + document["candidate_alerts"] - document["both_alerts"]
    if either and document["champion_alerts"] and document["candidate_alerts"]:
        clauses.append(
            f"agrees with it on {_percent(document['both_alerts'] / either)} of all alerts"
        )
    if time := _time(document):
        clauses.append(time)
    return f"{_capital(second)} {_listed(clauses)}."


def remarks(document: dict[str, Any]) -> list[Remark]:
    """Return what speaks for B, against it, and what is for a person to judge."""
    return [
        _alerts(document),
        _agreement(document),
        _ranks(document),
        _dead(document),
        _cost(document),
    ]


def _alerts(document: dict[str, Any]) -> Remark:
    first, second = names(document)
    champion, candidate = document["champion_alerts"], document["candidate_alerts"]
    both = document["both_alerts"]
    text = (
        f"Alerts: {champion:,} by {first} ({_percent(champion / document['records'])} of the records), "
        f"{candidate:,} by {second} ({_percent(candidate / document['records'])}). "
        f"{candidate - both:,} are new, {champion - both:,} would no longer come."
    )
    return Remark("same" if champion == candidate == both else "open", text)


def _agreement(document: dict[str, Any]) -> Remark:
    champion, candidate = document["champion_alerts"], document["candidate_alerts"]
    both = document["both_alerts"]
    either = champion + candidate - both
    if not either:
        return Remark("same", "Neither raises an alert: this traffic cannot tell them apart.")
    share = both / either
    word = "mostly agree" if share >= _MANY_IN_COMMON else "often disagree"
    text = f"They {word} on what alerts: both raise {both:,} of {either:,} ({_percent(share)})."
    return Remark("same" if share >= _MANY_IN_COMMON else "open", text)


def _ranks(document: dict[str, Any]) -> Remark:
    correlation = document["rank_correlation"]
    if correlation is None:
        return Remark("open", "The ranking cannot be compared: all scores of one are the same.")
    like = "much the same" if correlation >= _RANKS_WELL else "differently"
    text = (
        f"They rank the records {like} (rank correlation {correlation:.2f}; 1 is the same order)."
    )
    return Remark("same" if correlation >= _RANKS_WELL else "open", text)


def _dead(document: dict[str, Any]) -> Remark:
    first, second = names(document)
    lost, gained = document["candidate_dead"], document["champion_dead"]
    if not lost and not gained:
        return Remark("same", "Both can score the same records.")
    parts = []
    if lost:
        parts.append(f"{second} cannot score {lost:,} records that {first} scores")
    if gained:
        parts.append(f"{second} scores {gained:,} records that {first} cannot")
    return Remark("worse" if lost > gained else "better", f"{_capital('; '.join(parts))}.")


def _cost(document: dict[str, Any]) -> Remark:
    champion, candidate = document["champion_us"], document["candidate_us"]
    text = f"CPU time for a record: {champion:.1f} \u00b5s and {candidate:.1f} \u00b5s"
    if document["time_ratio"] is None:
        return Remark("open", f"{text}; too few records to tell them apart.")
    low, _, high = document["time_ratio"]
    text += f"; {names(document)[1]} {_time(document)}."
    if high < 1 / _ALIKE:
        return Remark("better", text)
    return Remark("worse" if low > _ALIKE else "same", text)


def _more(champion: int, candidate: int, first: str) -> str:
    if not candidate and not champion:
        return f"raises no alert, and neither does {first}"
    if candidate == champion:
        return f"raises as many alerts as {first} ({champion:,})"
    if not champion or not candidate:
        return f"raises {candidate:,} alerts where {first} raises {champion:,}"
    change = candidate / champion
    much = f"{change:.1f} times as many" if change >= 2 else f"{_percent(abs(change - 1))} {'more' if change > 1 else 'fewer'}"  # noqa: PLR2004  from double on a factor reads better  # fmt: skip
    than = "as" if change >= 2 else "than"  # noqa: PLR2004  the same
    return f"raises {much} alerts {than} {first} ({candidate:,} against {champion:,})"


def _time(document: dict[str, Any]) -> str:
    if document["time_ratio"] is None:
        return ""
    low, middle, high = document["time_ratio"]
    if low <= _ALIKE and high >= 1 / _ALIKE:
        return "takes about as long"
    if middle >= 2:  # noqa: PLR2004  from double on a factor reads better
        return f"takes {middle:.1f} times as long"
    return f"takes {_percent(abs(middle - 1))} {'more' if middle > 1 else 'less'} time"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"  # noqa: PLR2004  two digits either way


def _listed(clauses: list[str]) -> str:
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def _capital(text: str) -> str:
    """Return a sentence with a large first letter, unless it begins with the name of a model."""
    if not text.startswith("version "):
        return text
    return text[:1].upper() + text[1:]
