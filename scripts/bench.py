"""Run one benchmark of `scripts/benches`, or all of them; a new module there is a new part.

A part is a module with `main(arguments)`: it reads its own options, works in a folder of its own, and prints
what it measured, the ratio to a baseline that it names, and the goal beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

PARTS = sorted(path.stem for path in (Path(__file__).parent / "benches").glob("*.py") if path.stem[0] != "_")


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        for part in PARTS:
            import_module(f"benches.{part}").main([])
        return 0
    part, *options = arguments
    if part not in PARTS:
        print(f"scripts/bench [PART [options]]; the parts are {', '.join(PARTS)}", file=sys.stderr)
        return 0 if part in ("-h", "--help") else 2
    import_module(f"benches.{part}").main(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
