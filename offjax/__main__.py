"""``python -m offjax`` is the command ``offjax``."""

import sys

from offjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
