"""Columns and files of NSL-KDD and KDD Cup 1999, which are published without a header.

Sources: kddcup.names and the task description of KDD Cup 1999 (Stolfo et al., UCI KDD Archive,
1999; CC BY 4.0) for the columns; Tavallaee et al., "A Detailed Analysis of the KDD CUP 99 Data
Set", CISDA 2009, for NSL-KDD.
"""

from dataclasses import dataclass
from typing import Final

KDD_COLUMNS: Final = (
    "duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land",
    "wrong_fragment", "urgent", "hot", "num_failed_logins", "logged_in", "num_compromised",
    "root_shell", "su_attempted", "num_root", "num_file_creations", "num_shells",
    "num_access_files", "num_outbound_cmds", "is_host_login", "is_guest_login", "count",
    "srv_count", "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate",
    "same_srv_rate", "diff_srv_rate", "srv_diff_host_rate", "dst_host_count",
    "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate",
    "dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate",
)  # fmt: skip
"""The 41 features, in the order of the files."""

KDD99_COLUMNS: Final = (*KDD_COLUMNS, "label")
NSL_KDD_COLUMNS: Final = (*KDD_COLUMNS, "label", "difficulty")

NORMAL_LABEL: Final = "normal"
"""Label of normal records; KDD99 writes a dot behind every label, see `clean_label`."""


@dataclass(frozen=True, slots=True)
class Split:
    """One published file of a data set.

    Parameters
    ----------
    file : str
        Name of the uncompressed file; ``file + ".gz"`` is looked for too.
    sha256 : str
        Hash of the uncompressed content.
    n_rows : int
        Rows it has.
    """

    file: str
    sha256: str
    n_rows: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A published data set without a header.

    Parameters
    ----------
    name : str
        Name on the command line.
    columns : tuple of str
        Names of all columns, in order.
    splits : dict of str to Split
        Files by split name.
    """

    name: str
    columns: tuple[str, ...]
    splits: dict[str, Split]


DATASETS: Final[dict[str, Dataset]] = {
    "nsl-kdd": Dataset(
        name="nsl-kdd",
        columns=NSL_KDD_COLUMNS,
        splits={
            "train": Split(
                "KDDTrain+.txt",
                "1b86d2f957b33082081bba410fe129b475efebcc13c9014c3f447c8271aadf95",
                125_973,
            ),
            "test": Split(
                "KDDTest+.txt",
                "fa46b0935342616aa83b7c2578db355b6a7aaabbc492248172c7a1e8b7ab8f84",
                22_544,
            ),
            "test-21": Split(
                "KDDTest-21.txt",
                "746993ac9e25868827cacf09eab450050a2a1056e1ce48a1ad39f5dc801d531d",
                11_850,
            ),
        },
    ),
    "kdd99": Dataset(
        name="kdd99",
        columns=KDD99_COLUMNS,
        splits={
            "train": Split(
                "kddcup.data_10_percent",
                "f8c8267ebcd9c0ed1fd7d6277fe5bfff8732e9b7db8e61b873542b2a534b6f9a",
                494_021,
            ),
        },
    ),
}
"""The data sets that ``--dataset`` knows."""


def clean_label(label: str) -> str:
    """Return the label as NSL-KDD writes it: KDD99's trailing dot removed.

    Examples
    --------
    >>> clean_label("smurf.")
    'smurf'
    """
    return label.strip().removesuffix(".")
