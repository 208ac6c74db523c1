import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from dfkd.cluster.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print("unknown")
    raise SystemExit
def step():
    a = torch.zeros(2_000_000)  # 8 MB each, as a layer's output
    b = a + 1
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux counts them")
def test_a_step_gets_the_memory_of_the_step_before():
    faults = {}
    for mode in ("keep", "free"):
        done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        if done.stdout.strip() == "unknown":
            pytest.skip("not the GNU C library")
        faults[mode] = int(done.stdout)
    assert faults["keep"] < 100 < faults["free"] / 100  # 20 steps of 16 MB are 78,000 pages of 4 KiB
