# SPDX-License-Identifier: Apache-2.0
"""tests/ itself is importable: support and networks are modules of the tests."""

import os
import sys
from pathlib import Path

# pytest-xdist fills the cores with processes; threads inside them would only get in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))
