"""``python -m postgres_backup``: the command line, and nothing else."""

import gc

from .machine import signals

if __name__ == "__main__":
    # before all else is loaded: a signal that comes meanwhile is told of as any other
    signals.listen()
    signals.defer()
    # a command makes some ten thousand objects that stay, of modules and of the store's protocol:
    # to look through them for garbage at every 700 takes a tenth of the time of a short one
    gc.set_threshold(20_000)

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
