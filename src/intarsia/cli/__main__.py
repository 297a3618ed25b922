# SPDX-License-Identifier: Apache-2.0
"""`python -m intarsia.cli`."""

import sys

from intarsia.cli import main

sys.exit(main())
