"""How training goes, on stderr."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from anoean_stream.cli.console import err

if TYPE_CHECKING:
    from trainer.anoean import Epoch


class Terminal:
    """Says on stderr how training goes: a bar on a terminal, one line an epoch elsewhere.

    Parameters
    ----------
    n_epochs : int
        Most epochs.
    """

    def __init__(self, *, n_epochs: int) -> None:
        self._n_epochs = n_epochs
        self._epoch = 0
        self._best = 0.0
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[n_epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("at most"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task(
            "training", total=None, visible=False, epoch=1, n_epochs=n_epochs, figures=""
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def stage(self, text: str) -> None:
        """Say what happens now."""
        err.print(escape(text), soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something that a person should know."""
        err.print(f"[yellow]note:[/] {escape(text)}", soft_wrap=True)

    def step(self, done: int, total: int) -> None:
        """Move the bar; the first step shows it: reading a topic has a bar of its own."""
        self._bar.start()
        self._bar.update(
            self._task,
            visible=True,
            total=self._n_epochs * total,
            completed=self._epoch * total + done,
        )

    def epoch(self, epoch: "Epoch") -> None:
        """Show the figures of an epoch."""
        self._epoch = epoch.number
        self._best = max(self._best, epoch.validation_aupr)
        figures = (
            f"L_D {epoch.discriminator_loss:.3f}  L_E {epoch.encoder_loss:.3f}  "
            f"AUPR {epoch.validation_aupr:.4f} (best {self._best:.4f})"
        )
        self._bar.update(self._task, epoch=min(epoch.number + 1, self._n_epochs), figures=figures)
        if not err.is_terminal:
            err.print(f"epoch {epoch.number:3}  {figures}  {epoch.seconds:.1f} s")
