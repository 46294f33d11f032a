"""TODO."""

from __future__ import annotations

SURVEYS_AT_ONCE = 8
"""Organizations that are asked side by side before planning."""
