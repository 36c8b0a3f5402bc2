#!/usr/bin/env python3
"""Write deploy/grafana/dashboards/*.json: `python deploy/grafana/generate.py`. A test says when they are old."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE))

from pages import PAGES  # noqa: E402


def main() -> None:
    for name, page in PAGES.items():
        (HERE / "dashboards" / f"{name}.json").write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
