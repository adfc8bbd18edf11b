"""Note the digests of the records that today's code gives on this machine, or look at the records themselves.

python tests/golden/write.py                    add digests for a kind of machine that has none yet
python tests/golden/write.py --replace          replace them: records were meant to change
python tests/golden/write.py --records FOLDER   write the whole records, a file a period, to compare with `diff -r`
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ |= {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # before torch is imported

from fingerprint import about, key_of
from scenarios import NAMES, Records, digests, played
from stored import FILE, read, write


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", action="store_true", help="replace digests that are there")
    parser.add_argument("--records", type=Path, metavar="FOLDER", help="write whole records instead of digests")
    options = parser.parse_args()
    values, stored = about(), read()
    key = key_of(values)
    if options.records is None and key in stored and not options.replace:
        sys.exit(f"expected no digests for {key} in {FILE.name}, got some; use --replace when records were to change")
    found = {}
    for name in NAMES:
        print(name, flush=True)  # noqa: T201
        records = played(name)
        found[name] = digests(records)
        if options.records is not None:
            _write_records(options.records / name, records)
    if options.records is None:
        write({**stored, key: {"about": values, "digests": found}})


def _write_records(folder: Path, records: Records) -> None:
    for line, periods in records.items():
        (folder / line).mkdir(parents=True, exist_ok=True)
        for record in periods:
            text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True)
            (folder / line / f"{record.period:04d}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
