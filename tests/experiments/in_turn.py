"""Run commands one after the other in this process, as JSON from standard input to standard output.

Each is a list, ``[script of experiments/, *arguments]``; the answer lists its status, what it said on both streams, and
its processor seconds. For commands that end before their work begins: most of their time is loading what they import.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def run(script: str, *arguments: str) -> dict[str, Any]:
    """Run one command as ``python experiments/<script>`` would, but for what earlier ones have loaded."""
    output, errors, status = io.StringIO(), io.StringIO(), 0
    sys.argv = [str(EXPERIMENTS / script), *arguments]
    began = time.process_time()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            status = int(end.code or 0)
    seconds = time.process_time() - began
    return {"status": status, "output": output.getvalue(), "errors": errors.getvalue(), "processor_seconds": seconds}


if __name__ == "__main__":
    sys.path.insert(0, str(EXPERIMENTS))
    import torch  # noqa: F401 - what the first command would load

    answers = [run(*command) for command in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
