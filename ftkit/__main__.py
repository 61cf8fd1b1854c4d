"""python -m ftkit: the same as the command `ftkit`, for torchrun and for machines without it on the path."""

import sys

from .cli import main

sys.exit(main())
