import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from discrete_diffusion.commandline.allocation import keep_freed_memory
if {keep}:
    keep_freed_memory()
for _ in range(20):
    blocks = [bytearray(48 << 20) for _ in range(2)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_freed_memory_is_used_again():
    def faults(keep: bool) -> int:
        command = [sys.executable, "-c", FAULTS.format(keep=keep)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults(keep=True) < faults(keep=False) / 3
