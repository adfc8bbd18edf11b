"""Note the digests of the standard timelines anew: `python tests/portable/write.py`, where records were to change.

The file is what `ebbdoor numerics` compares with on every machine, so look at why they changed first.
"""

from __future__ import annotations

import json
from pathlib import Path

import simulator.checks.portable.compared as portable


def main() -> None:
    """Play all standard timelines and replace the file."""
    digests = {name: dict(portable.play_portable(name).digests) for name in portable.TIMELINES}
    path = Path(portable.__file__).with_name(portable.NOTED)
    path.write_text(json.dumps({"versions": portable.versions(), "digests": digests}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
