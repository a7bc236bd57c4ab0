"""``python -m postgres_backup``: the command line, and nothing else."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
