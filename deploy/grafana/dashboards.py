"""Writes the dashboards: python deploy/grafana/dashboards.py [FOLDER]

Edit the boards beside this file, not the JSON: a test fails when they differ. `$model`, `$node` and
`$supplier` are variables at the top of a page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from money_boards import IDE, MONEY, SCORECARD
from traffic_boards import MODELS, NODES, OVERVIEW

DASHBOARDS = (OVERVIEW, MODELS, NODES, MONEY, IDE, SCORECARD)


def main(folder: Path) -> None:
    for each in DASHBOARDS:
        path = folder / f"{each['uid'].removeprefix('tollgate-')}.json"
        path.write_text(json.dumps(each, indent=1) + "\n")


if __name__ == "__main__":
    beside = Path(__file__).parent / "dashboards"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else beside)
