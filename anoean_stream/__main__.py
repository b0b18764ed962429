"""``python -m anoean_stream`` is ``anoean``."""

import sys

from anoean_stream.cli import main

if __name__ == "__main__":
    sys.exit(main())
