"""Freed memory is kept, so that a training step has no page faults."""

import subprocess
import sys

COUNT_FAULTS = """
import resource, sys
import torch
from workers.cpu.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):  # the heap grows until aligned blocks fit into what was freed
    torch.empty(16 * 2**20).fill_(1.0)
before = count()
for _ in range(10):
    torch.empty(16 * 2**20).fill_(1.0)  # 64 MiB
print(count() - before)
"""


def count_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_large_tensors_use_freed_memory_again_instead_of_faulting_it_in() -> None:
    assert count_faults("kept") * 50 < count_faults("returned")
