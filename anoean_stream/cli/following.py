"""Waiting until the workers say that they do what the registry now asks for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from anoean_stream.cli.console import err, out
from anoean_stream.cli.dead_letters import printable
from anoean_stream.cli.worker_reports import WorkerReports, live_reports
from anoean_stream.errors import BrokerError, ConfigError
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.settings import Settings

LIMIT_S: Final = 30.0
"""Seconds until those who have not followed are named: three reports of the default interval."""

_LOOK_S: Final = 0.2
"""Seconds for one look at the topic."""

EXIT_BEHIND: Final = 3
"""Some worker did not follow; the registry is changed all the same."""

WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help=f"Wait up to {LIMIT_S:g} s until every live worker of consumer.group_id reports that it "
        "follows.",
    ),
]


@dataclass(frozen=True, slots=True)
class Following:
    """Who followed.

    Parameters
    ----------
    seconds : float
        From the change until the last one followed, or until it was given up.
    followed : tuple of str
        Workers that did.
    behind : dict of str to str
        Workers that did not, and what they say.
    """

    seconds: float
    followed: tuple[str, ...]
    behind: dict[str, str]

    def as_document(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "seconds": round(self.seconds, 3),
            "followed": list(self.followed),
            "behind": self.behind,
        }


def wait_for_workers(
    settings: Settings,
    model: str,
    *,
    has_followed: Callable[[WorkerReport], bool],
    changed_at_s: float,
    alias: str | None = None,
    limit_s: float = LIMIT_S,
) -> Following | None:
    """Return when every live worker of the group has followed, or the time is over.

    Parameters
    ----------
    settings : Settings
        Brokers, ``topics.workers`` and ``consumer.group_id``.
    model : str
        Name of the model.
    has_followed : callable
        Whether a report shows the change.
    changed_at_s : float
        ``time.monotonic()`` when the registry was changed.
    alias : str, optional
        Only workers that follow it are concerned; None takes all of the group.
    limit_s : float
        Seconds to wait, from now on.

    Returns
    -------
    Following or None
        None when nobody can be asked; why is said on stderr.
    """
    if settings.topics.workers is None:
        return None
    try:
        with (
            WorkerReports(settings, model) as reports,
            err.status("waiting for the workers", spinner="dots"),
        ):
            return _wait(
                reports,
                has_followed,
                group=settings.consumer.group_id,
                alias=alias,
                changed_at_s=changed_at_s,
                limit_s=limit_s,
            )
    except (BrokerError, ConfigError) as error:
        err.print(
            f"[yellow]note:[/] whether workers follow is not known: {escape(str(error))}",
            soft_wrap=True,
        )
        return None


def _wait(
    reports: WorkerReports,
    has_followed: Callable[[WorkerReport], bool],
    *,
    group: str,
    alias: str | None,
    changed_at_s: float,
    limit_s: float,
) -> Following:
    workers = reports.read()
    ends_at_s = time.monotonic() + limit_s
    while True:
        live = [
            report
            for report in live_reports(workers, now=datetime.now(tz=UTC), group=group)
            if alias in {None, report.alias}
        ]
        behind = {one.worker: _says(one) for one in live if not has_followed(one)}
        now_s = time.monotonic()
        if not behind or now_s > ends_at_s:
            followed = tuple(one.worker for one in live if one.worker not in behind)
            return Following(now_s - changed_at_s, followed, behind)
        workers = reports.follow(_LOOK_S)


def _says(report: WorkerReport) -> str:
    threshold = "none" if report.threshold is None else f"{report.threshold:.6g}"
    serves = f"version {report.version or 'none'}, threshold {threshold}"
    return serves if report.problem is None else f"{serves}: {report.problem}"


def tell_following(following: Following | None, *, what: str) -> None:
    """Print who followed; end the command with `EXIT_BEHIND` when somebody did not.

    Raises
    ------
    typer.Exit
        Somebody did not.
    """
    if following is None:
        return
    n_workers = len(following.followed) + len(following.behind)
    if not n_workers:
        out.print("no live worker reports for this group, so there is nobody to wait for")
        return
    if not following.behind:
        who = "the only worker reports" if n_workers == 1 else f"all {n_workers} workers report"
        out.print(f"{who} {what}, {following.seconds:.1f} s after the change")
        return
    err.print(
        f"[bold red]error:[/] after {following.seconds:.0f} s {len(following.behind)} of {n_workers} "
        f"workers do not report {what}:",
        soft_wrap=True,
    )
    for worker, says in following.behind.items():
        err.print(f"  {escape(printable(worker))}: {escape(printable(says))}", soft_wrap=True)
    raise_if_behind(following)


def raise_if_behind(following: Following | None) -> None:
    """End the command with `EXIT_BEHIND` when somebody did not follow.

    Raises
    ------
    typer.Exit
        Somebody did not.
    """
    if following is not None and following.behind:
        raise typer.Exit(EXIT_BEHIND)
