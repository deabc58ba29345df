"""Measurements of the budgets in docs/performance.md: scripts that print JSON.

A script's own folder stands first where modules are looked for, and some here are named like the
room they measure: it is taken out before any room is imported.
"""

import sys
from pathlib import Path

sys.path[:] = [path for path in sys.path if Path(path).absolute() != Path(__file__).parent]
