"""For how long a store that does not answer is asked, and a lock that another process holds is waited for."""

from __future__ import annotations

import os
from typing import Final

from simulator.errors import StoreError

#: environment variable: seconds to go on asking a store that does not answer, or waiting for a lock; 0 asks once
PATIENCE: Final = "EBBDOOR_STORE_PATIENCE"

DEFAULT: Final = 60.0  # rides out a registry that is away for half a minute, and is started again


def patience() -> float:
    """Return the seconds in `EBBDOOR_STORE_PATIENCE`, by default 60; `StoreError` when that is no duration."""
    text = os.environ.get(PATIENCE, str(DEFAULT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise StoreError(f"expected {PATIENCE} to be 0 to 86400 seconds, got '{text}'; correct or unset it")
    return seconds
