"""The machine: its processor, its measured rates, and the memory of a call."""

import itertools
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def processor() -> str:
    """Return the processor's name and the widest vector instructions of torch."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def rates(seconds: float = 0.5) -> dict[str, float]:
    """Measure float32 matrix products (operations per second) and copies (bytes read and written per second)."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    source, target = torch.zeros(2**25), torch.zeros(2**25)
    return {
        "matmul": 2 * 1024**3 / _best(lambda: a @ b, seconds),
        "copy": 2 * source.nbytes / _best(lambda: target.copy_(source), seconds),
    }


def work(call: Callable[[], object]) -> int:
    """Return the floating-point operations of the matrix products in a call."""
    with _Operations() as counter:
        call()
    return counter.total


class _Operations(TorchDispatchMode):
    # torch's FlopCounterMode follows modules as well, which gradients by tokens or hidden states do not allow.
    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.total += 0 if count is None else count(*args, **(kwargs or {}), out_val=result)
        return result


def peak_memory(call: Callable[[], object]) -> int:
    """Return the most bytes of tensors that are alive at once within a call, beside those that it was given."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    del result
    assert profile.profiler is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate((event.nbytes() for event in events), initial=0))


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of a call; on one thread, it hardly depends on what else runs on the machine."""
    start = time.process_time()
    call()
    return time.process_time() - start


def _best(call: Callable[[], object], budget: float) -> float:
    times = [seconds(call)]
    while sum(times) < budget:
        times.append(seconds(call))
    return min(times)
