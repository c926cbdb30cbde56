import os
import subprocess
import sys

import pytest
import torch

from fedsim.cores import one_thread, usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process is bound to cores")
def test_a_process_counts_the_cores_it_is_bound_to() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}]); "
        "from fedsim.cores import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_the_thread_count_is_given_back_whatever_happens() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="1 inside"), one_thread():
            raise RuntimeError(f"{torch.get_num_threads()} inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_torch_is_not_loaded_for_it() -> None:
    code = (
        "import sys; from fedsim.cores import one_thread\n"
        "with one_thread(): sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
