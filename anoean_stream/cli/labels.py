"""Labels of a file's rows: taken off before the model sees a row, and remembered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import typer

from anoean_stream.cli.offline import Source
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.features.values import to_category
from anoean_stream.records.files import read_rows, row_to_json
from anoean_stream.records.kdd import NORMAL_LABEL, clean_label

DATASET_LABEL: Final = "label"

_LABELS_SHOWN: Final = 10
"""Labels named in a message: KDD99 has 23, a wrong column may have a million."""

LabelColumnOption = Annotated[
    str, typer.Option("--label-column", metavar="NAME", help="Column of the labels.")
]
NormalValueOption = Annotated[
    str | None,
    typer.Option(
        "--normal-value",
        metavar="VALUE",
        help="Label of normal records; every other label is a kind of anomaly.",
        show_default=False,
    ),
]


@dataclass(slots=True)
class Labels:
    """Labels of the rows that were read so far.

    Parameters
    ----------
    column : str
        Where they stand.
    normal : str
        The one of normal rows.
    kinds : list of str
        One for each row that was read, in order.
    """

    column: str
    normal: str
    kinds: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, records: Source, *, column: str, normal_value: str | None) -> "Labels":
        """Return no labels yet, to be read as the command line says; a data set knows its own.

        Raises
        ------
        ConfigError
            When it is not said which label is normal.
        """
        if records.dataset:
            column, normal_value = DATASET_LABEL, NORMAL_LABEL
        if normal_value is None:
            message = "--normal-value VALUE is missing: which label do normal records have?"
            raise ConfigError(message)
        return cls(column.strip(), to_category(normal_value) or normal_value)

    def strip_from(self, records: Source) -> Iterator[bytes]:
        """Yield each row as a payload without its label, and remember the label.

        Raises
        ------
        DataError
            When a row cannot be read, or has no label (names row and column).
        """
        for number, row in enumerate(read_rows(records.path, columns=records.columns), start=1):
            self.kinds.append(self._label(row, number, records))
            yield row_to_json({name: v for name, v in row.items() if name != self.column})

    def need_both(self, *, has_anomalies: bool, has_normals: bool, records: Source) -> None:
        """Raise DataError, with the labels that were seen, unless both kinds of row are there."""
        if has_anomalies and has_normals:
            return
        seen = sorted(set(self.kinds))
        shown = ", ".join(seen[:_LABELS_SHOWN]) + (", ..." if len(seen) > _LABELS_SHOWN else "")
        message = (
            f"{records.path}, column {self.column!r}: no scored row is "
            f"{'normal' if has_anomalies else 'an anomaly'}; normal is {self.normal!r}, labels "
            f"seen: {shown or 'none'}; figures need both, check --normal-value and --label-column"
        )
        raise DataError(message, column=self.column)

    def _label(self, row: Mapping[str, object], number: int, records: Source) -> str:
        if self.column not in row:
            message = (
                f"{records.path}, row {number}: no column {self.column!r}; it has: "
                f"{', '.join(row)}; name the label's column with --label-column"
            )
            raise DataError(message, column=self.column, row=number)
        try:
            label = to_category(row[self.column])
        except ValueError as error:
            message = f"{records.path}, row {number}, column {self.column!r}: {error}"
            raise DataError(message, column=self.column, row=number) from error
        if label is None:
            message = (
                f"{records.path}, row {number}, column {self.column!r}: no label; every row needs "
                f"one here; leave unlabelled rows out, or score them with `anoean score`"
            )
            raise DataError(message, column=self.column, row=number)
        return clean_label(label) if records.dataset else label
