"""Rates of an accelerator: `python -m benchmarks.accelerator`; `--tiny` checks on any machine that it runs.

Training steps of a compiled DiT in bfloat16 (tokens per second, and their share of the measured rate of matrix
products), attention kernels, sampling with and without CUDA graphs, and the memory of losses with a large vocabulary.
The results are JSON, one line for each.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import flex_attention

from benchmarks import machine
from benchmarks.rows import SCHEDULE, randomized
from discrete_diffusion.backbones import DIT_SMALL, DiT
from discrete_diffusion.guidance import sample
from discrete_diffusion.processes import Absorbing, Ancestral, ContinuousNELBO, NetworkDenoiser
from discrete_diffusion.processes import fused as fusion

TINY = {"hidden_size": 32, "num_blocks": 1, "num_heads": 2}


def seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median time of a call, after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[repeats // 2]


def matmul_rate(device: torch.device, size: int) -> float:
    """Return the operations per second of a bfloat16 matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device, 9)


def training(device: torch.device, tiny: bool, length: int, v: int, rate: float, compiled: bool) -> dict:
    """Measure a training step of masked diffusion."""
    b = 2 if tiny else 65_536 // length
    net = randomized(DiT(v, dropout=0.0, **(TINY if tiny else DIT_SMALL))).to(device).train()
    process = Absorbing(SCHEDULE, v, mask_id=0)
    objective, x0 = ContinuousNELBO(process), torch.randint(1, v, (b, length), device=device)
    optimizer = torch.optim.AdamW(net.parameters(), fused=device.type == "cuda")
    if compiled:
        net.compile()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            value = objective.loss(NetworkDenoiser(process, net), x0).mean()
        value.backward()
        optimizer.step()

    taken = seconds(step, device, 2 if tiny else 9)
    # Forward and backward of all matrices but the embedding, and attention's products of queries, keys and values.
    weights = sum(p.numel() for name, p in net.named_parameters() if p.ndim == 2 and "vocab_embed" not in name)
    hidden, blocks = net.blocks[0].attn_out.in_features, len(net.blocks)
    operations = b * length * (6 * weights + 12 * blocks * hidden * length)
    return {
        "row": "training step, MDLM, DiT small, bfloat16",
        "length": length,
        "vocabulary": v,
        "compiled": compiled,
        "tokens per second": b * length / taken,
        "share of the matmul rate": operations / taken / rate,
        "peak bytes": _peak(step, device),
    }


def loss_memory(device: torch.device, tiny: bool, v: int, fused: bool) -> dict:
    """Measure the memory of a training step by token, fused with the output layer or not."""
    b, length, v = (2, 16, 50) if tiny else (8, 1024, v)
    net = randomized(DiT(v, dropout=0.0, **(TINY if tiny else DIT_SMALL))).to(device).train()
    process = Absorbing(SCHEDULE, v, mask_id=0)
    x0 = torch.randint(1, v, (b, length), device=device)
    objective = ContinuousNELBO(process)

    def step() -> None:
        objective.loss(NetworkDenoiser(process, net), x0).mean().backward()
        net.zero_grad()

    with mock.patch.object(fusion, "FUSED_ABOVE", 0 if fused else 2**62):
        peak = _peak(step, device)
    return {
        "row": "loss and gradient, MDLM",
        "vocabulary": v,
        "fused": fused,
        "bytes per token": peak / (b * length),
    }


def attention(device: torch.device, tiny: bool, length: int) -> list[dict]:
    """Measure forward and backward of the attention kernels that are installed."""
    b, heads, size = (2, 2, 16) if tiny else (65_536 // length, 12, 64)
    q, k, v = (
        torch.randn(b, heads, length, size, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)
    )
    kernels: dict[str, Callable[[], torch.Tensor]] = {"SDPA": lambda: F.scaled_dot_product_attention(q, k, v)}
    if device.type == "cuda":
        flex = torch.compile(flex_attention)
        kernels["FlexAttention"] = lambda: flex(q, k, v)
    if importlib.util.find_spec("flash_attn") is not None:
        from flash_attn import flash_attn_func

        kernels["flash-attn"] = lambda: flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return [
        {
            "row": "attention, forward and backward",
            "kernel": name,
            "length": length,
            "tokens per second": b
            * length
            / seconds(lambda call=call: call().sum().backward(), device, 2 if tiny else 9),
        }
        for name, call in kernels.items()
    ]


def sampling(device: torch.device, tiny: bool, compiled: bool) -> dict:
    """Measure a step of ancestral sampling; compiled, the network replays a CUDA graph."""
    b, length, v, steps = (2, 8, 10, 2) if tiny else (64, 128, 1000, 32)
    net = randomized(DiT(v, dropout=0.0, **(TINY if tiny else DIT_SMALL))).to(device)
    process = Absorbing(SCHEDULE, v, mask_id=0)
    forward = torch.compile(net, mode="reduce-overhead") if compiled else net
    kernel = Ancestral(process, NetworkDenoiser(process, lambda xt, sigma: forward(xt, sigma).clone()))
    start = torch.zeros(b, length, dtype=torch.int64, device=device)
    times = torch.linspace(1, 0, steps + 1, device=device)

    @torch.no_grad()
    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            sample(kernel, start, times)

    return {
        "row": "sampling, MDLM",
        "CUDA graph": compiled,
        "milliseconds per step": 1000 * seconds(run, device, 2 if tiny else 5) / steps,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that a call has at once, beside those of its inputs."""
    if device.type != "cuda":
        return machine.peak_memory(call)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    return torch.cuda.max_memory_allocated(device) - before


def main() -> None:
    """Print every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small sizes, on the CPU unless there is a GPU")
    tiny = parser.parse_args().tiny
    if not (tiny or torch.cuda.is_available()):
        parser.error("expected a CUDA device: --tiny runs small sizes on the CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = matmul_rate(device, 128 if tiny else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine.processor()
    print(json.dumps({"device": name, "torch": torch.__version__, "bfloat16 matmul per second": rate}), flush=True)

    def show(row: dict) -> None:
        print(json.dumps(row), flush=True)

    compiles = [False] if device.type == "cpu" else [False, True]
    for compiled in compiles:
        for length in (8,) if tiny else (128, 1024):
            show(training(device, tiny, length, 50 if tiny else 1000, rate, compiled))
        show(sampling(device, tiny, compiled))
    for length in (8,) if tiny else (128, 1024, 8192):
        for row in attention(device, tiny, length):
            show(row)
    for v in (30_522,) if tiny else (30_522, 131_072):
        for fused in (False, True):
            show(loss_memory(device, tiny, v, fused))


if __name__ == "__main__":
    main()
