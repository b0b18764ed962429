"""``anoean version``: what is installed, for a bug report."""

import importlib.metadata
import platform

from anoean_stream import __version__
from anoean_stream.cli.console import out, print_json
from anoean_stream.cli.options import JsonOption

_SHOWN = (
    "faust-streaming",
    "mode-streaming",
    "confluent-kafka",
    "msgspec",
    "numpy",
    "torch",
    "scikit-learn",
)


def version(*, as_json: JsonOption = False) -> None:
    """Print the versions of anoean, Python and the libraries that matter in a bug report."""
    versions: dict[str, str | None] = {
        "anoean": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in _SHOWN:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    if as_json:
        print_json(versions)
        return
    for name, value in versions.items():
        out.print(f"{name:16} {value or 'not installed'}")
