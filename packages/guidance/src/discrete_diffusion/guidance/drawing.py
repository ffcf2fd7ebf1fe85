"""Categorical sampling, accurate in the tail."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.streams import RandomSource, draw_uniform

_CHUNK = {"cpu": 2**17}  # float64 numbers held at a time: 1 MiB, in the cache of a processor,
_CHUNK_OF_DEVICE = 2**24  # or 128 MiB on an accelerator
_BLOCK = 128  # tokens whose probabilities are added up before any cumulative sum


@torch.no_grad()
def sample_categorical(
    log_probs: Float[Tensor, "*rows v"],
    generator: RandomSource = None,
    *,
    at: Bool[Tensor, "b l"] | None = None,
) -> Int[Tensor, "*rows"]:
    """Draw one token per row: the first k with P(x <= k) > u, in float64, for u uniform on [0, 1).

    The Gumbel trick in float32 cannot tell probabilities below 6e-8 from zero, which acts as an unintended temperature
    (arXiv 2409.02908); here the resolution is 2^-53. A token of log-probability -inf is never drawn. Rows need not be
    normalized.

    Every sampler of this package draws its tokens here. The check of the rows costs one synchronization with the device
    per 2^24 log-probabilities, little beside the network call that computed them.

    Args:
        log_probs: Log-probabilities, up to a constant in each row.
        generator: Source of randomness, torch's default generator if None. The uniform numbers are drawn on the
            generator's device: one on the CPU gives the same numbers for every device of `log_probs`.
        at: True at the n positions of a batch that `log_probs`, (n, v), are for; every position of the batch then takes
            a number, so that the numbers of one sample do not depend on the positions of another.

    Raises:
        ValueError: If a row has no possible token, or holds NaN or +inf.
    """
    shape = log_probs.shape[:-1] if at is None else at.shape
    uniform = draw_uniform(shape, generator, _float64_device(log_probs))
    return invert_cdf(log_probs, uniform if at is None else uniform[at.to(uniform.device)])


@torch.no_grad()
def invert_cdf(log_probs: Float[Tensor, "*rows v"], uniform: Float[Tensor, "*rows"]) -> Int[Tensor, "*rows"]:
    """Return the first token k of each row with P(x <= k) > u, for given numbers u in [0, 1); see `sample_categorical`.

    Raises:
        ValueError: If a row has no possible token, or holds NaN or +inf.
    """
    rows = log_probs.to(_float64_device(log_probs)).reshape(-1, log_probs.shape[-1])
    numbers = uniform.to(rows.device).reshape(-1, 1)
    size = max(1, _CHUNK.get(rows.device.type, _CHUNK_OF_DEVICE) // rows.shape[-1])
    chunks = [_invert_chunk(p, u) for p, u in zip(rows.split(size), numbers.split(size), strict=True)]
    return torch.cat(chunks).reshape(log_probs.shape[:-1]).to(log_probs.device)


def _float64_device(log_probs: Tensor) -> torch.device:
    # Apple's devices have no float64.
    return torch.device("cpu") if log_probs.device.type == "mps" else log_probs.device


def _invert_chunk(log_probs: Float[Tensor, "n v"], uniform: Float[Tensor, "n 1"]) -> Int[Tensor, " n"]:
    v = log_probs.shape[-1]
    block = min(_BLOCK, v)
    peak = log_probs.amax(-1, keepdim=True)
    weights = torch.zeros(len(log_probs), -(-v // block) * block, dtype=torch.float64, device=log_probs.device)
    # float32 minus float64 gives float64 in one pass.
    torch.sub(log_probs, peak.double(), out=weights[:, :v]).exp_()
    # A cumulative sum is sequential, hence slow: take it over the sums of blocks, then inside the block of the token.
    ends = weights.cumsum_(-1) if block == v else weights.unflatten(1, (-1, block)).sum(-1).cumsum_(-1)
    target = uniform * ends[:, -1:]
    token = torch.searchsorted(ends, target, right=True).clamp_(max=ends.shape[-1] - 1)
    if block < v:
        start = torch.where(token > 0, ends.gather(-1, (token - 1).clamp(min=0)), 0.0)
        inside = token * block + torch.arange(block, device=token.device)
        cdf = weights.gather(-1, inside).cumsum_(-1).add_(start)
        token = inside[:, :1] + torch.searchsorted(cdf, target, right=True).clamp_(max=block - 1)
        token.clamp_(max=v - 1)
    possible = log_probs.gather(-1, token) > -math.inf
    if bool((possible & peak.isfinite()).all()):
        return token[:, 0]
    if not bool(peak.isfinite().all()):
        bad = int((~peak.isfinite()).sum())
        raise ValueError(
            f"Expected a possible token in every row of `log_probs`, got {bad} of {len(peak)} rows that are -inf "
            "throughout or hold NaN or +inf: check what the model returns."
        )
    # A parallel scan may round up at an impossible token; its weight belongs to the possible token before it.
    index = torch.arange(log_probs.shape[-1], device=token.device)
    candidates = (log_probs > -math.inf) & (index <= token)
    return torch.where(candidates, index, -1).amax(-1)
