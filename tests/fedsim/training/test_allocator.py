import ctypes
import subprocess
import sys

import pytest

GLIBC = hasattr(ctypes.CDLL(None), "malloc_trim")

CODE = """
import ctypes, os
from pathlib import Path
from fedsim.training.allocator import kept_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def take_and_free():
    block = libc.malloc(200 << 20)
    ctypes.memset(block, 1, 200 << 20)
    libc.free(block)

before = resident()
take_and_free()
alone = resident() - before
with kept_memory():
    take_and_free()
    inside = resident() - before
after = resident() - before
print(alone < 50, inside > 150, after < 50)
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc can keep what is freed")
def test_freed_memory_stays_until_the_training_ends() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "True True True\n"
