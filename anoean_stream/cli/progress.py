"""A bar on stderr for what takes a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from anoean_stream.cli.console import err

Advance = Callable[[int], None]


@contextmanager
def row_progress(description: str, *, total: int | None) -> Iterator[Advance]:
    """Show a bar that counts rows while the block runs; nothing when stderr is no terminal.

    Yields
    ------
    callable
        To be called with the number of rows that are done since the last call.
    """
    with _bar(description, MofNCompleteColumn(), TextColumn("rows"), total=total) as advance:
        yield advance


@contextmanager
def record_progress(description: str, *, total: int) -> Iterator[Advance]:
    """Show a bar that counts records, millions of them, while the block runs; see `row_progress`."""
    count = TextColumn("{task.completed:,} of {task.total:,}")
    with _bar(description, count, total=total) as advance:
        yield advance


@contextmanager
def _bar(description: str, *count: ProgressColumn, total: int | None) -> Iterator[Advance]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *count,
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda n: bar.update(task, advance=n)
