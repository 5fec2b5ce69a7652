"""The one entry point of a checkout: `python src/run.py [key=value ...]`. Where layeratlas is installed, it is `layeratlas`."""

import sys

from layeratlas.stages.main import main

if __name__ == "__main__":
    sys.exit(main("python src/run.py"))
