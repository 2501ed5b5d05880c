"""`python -m numatune`."""

import sys

from .cli import main

sys.exit(main())
