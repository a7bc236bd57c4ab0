"""``python -m postgres_backup``: the command line, and nothing else."""

from .machine import signals

if __name__ == "__main__":
    # before all else is loaded: a signal that comes meanwhile is told of as any other
    signals.listen()
    signals.defer()

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
