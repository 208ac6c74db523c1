import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from dfkd.cluster.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        a = torch.zeros(2_000_000)  # 8 MB each, as a layer's output
        b = a + 1
        del a, b
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
freed = faults()
if not keep_freed_memory():
    print("unknown")
    raise SystemExit
faults()
print(freed, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux counts them")
def test_a_step_gets_the_memory_of_the_step_before():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "unknown":
        pytest.skip("not the GNU C library")
    freed, kept = map(int, done.stdout.split())
    assert kept < freed / 10  # 20 steps of 16 MB are 78,000 pages of 4 KiB; a machine short of memory takes some back
