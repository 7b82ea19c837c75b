"""`python -m dmapsvc`: the command line."""

import sys

from dmapsvc.cli import main

sys.exit(main())
