"""Alerts as a person reads them: one row each, newest below."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

_STYLE_OF_SEVERITY: Final = {
    "low": "dim",
    "medium": "yellow",
    "high": "bold dark_orange",
    "critical": "bold red",
}

_TOP_REASONS: Final = 3
"""Features named in a row; more do not fit a line."""

SEVERITY_LABELS: Final = {"low": 0, "medium": 50, "high": 75, "critical": 90}
"""Lowest severity of each label."""


class AlertTable:
    """The last alerts.

    Parameters
    ----------
    rows : int
        Alerts to keep, >= 1.
    """

    def __init__(self, rows: int) -> None:
        self._alerts: deque[Mapping[str, Any]] = deque(maxlen=rows)
        self.n_alerts = 0

    def add(self, alert: Mapping[str, Any]) -> None:
        """Take one more alert in."""
        self._alerts.append(alert)
        self.n_alerts += 1

    def render(self, *, title: str | None = None, caption: str | None = None) -> Table:
        """Return the table of the alerts kept."""
        table = Table(title=title, caption=caption, expand=True, pad_edge=False, box=None)
        table.add_column("time", no_wrap=True)
        table.add_column("severity", no_wrap=True)
        table.add_column("source → destination", no_wrap=True, ratio=4)
        table.add_column("score/limit", justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
        table.add_column("because", no_wrap=True, ratio=5)
        table.add_column("model", justify="right", no_wrap=True)
        for alert in self._alerts:
            table.add_row(*_cells(alert))
        return table


def one_line(alert: Mapping[str, Any]) -> str:
    """Return an alert as one line of plain text, for a log or a pipe."""
    return "  ".join(cell if isinstance(cell, str) else cell.plain for cell in _cells(alert))


def reaches(alert: Mapping[str, Any], severity: int) -> bool:
    """Tell whether an alert is at least so severe, 0 to 100."""
    value = alert.get("severity")
    return severity <= 0 or (isinstance(value, (int, float)) and value >= severity)


def is_notice(message: Mapping[str, Any]) -> bool:
    """Tell whether a message of the alerts topic is a notice about the worker, and no alert."""
    return message.get("event_kind") == "notice"


def notice_line(notice: Mapping[str, Any]) -> str:
    """Return a notice as one line of plain text."""
    share = notice.get("sample_share")
    scored = f"{share:.0%}" if isinstance(share, (int, float)) else "some"
    return (
        f"{_clock(notice.get('at'))}  sampling {notice.get('state', '?')} on {notice.get('worker', '?')}: "
        f"only {scored} of the records scored, {notice.get('dropped_in_episode', '?')} dropped so far "
        f"({notice.get('reason', '?')})"
    )


def _cells(alert: Mapping[str, Any]) -> tuple[Text | str, ...]:
    label = str(alert.get("severity_label", "?"))
    flow = _mapping(alert.get("flow"))
    p_value = _mapping(alert.get("p_value")).get("conformal")
    model = _mapping(alert.get("model")).get("version", "?")
    return (
        _clock(alert.get("detected_at")),
        Text(f"{label} {alert.get('severity', '')}", style=_STYLE_OF_SEVERITY.get(label, "")),
        escape(f"{_end(flow, 'src')} → {_end(flow, 'dst')}"),
        f"{_number(alert.get('score'))}/{_number(alert.get('threshold'))}",
        "" if p_value is None else f"{p_value:.1g}",
        Text(_because(alert), overflow="ellipsis"),
        escape(f"v{model}"),
    )


def _because(alert: Mapping[str, Any]) -> str:
    shifts = alert.get("explanation") or ()
    return ", ".join(
        f"{shift.get('feature')} {_show(shift.get('value'))}" for shift in shifts[:_TOP_REASONS]
    )


def _end(flow: Mapping[str, Any], side: str) -> str:
    address = str(flow.get(f"{side}_ip", "?"))
    port = flow.get(f"{side}_port")
    return address if port is None or side == "src" else f"{address}:{port}"


def _clock(text: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(text)).astimezone():%H:%M:%S}"
    except ValueError:
        return "?"


def _number(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, (int, float)) else "?"


def _show(value: object) -> str:
    if value is None:
        return "missing"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
