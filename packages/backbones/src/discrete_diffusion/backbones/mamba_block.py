"""Mamba block in one or two directions, modulated by a condition."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import at_least_float32, modulate, zero_linear
from discrete_diffusion.backbones.selective_scan import continue_scan, selective_scan

RecurrentState = tuple[Float[Tensor, "b e window"], Float[Tensor, "b e n"]]
"""State of one block: the last inputs of its convolution, one fewer than its size, and its states."""

# Published range of the initial step sizes of a state space.
_MIN_STEP, _MAX_STEP = 1e-3, 1e-1


def rms_norm(size: int) -> nn.RMSNorm:
    """Return the normalization of the published block: x / sqrt(mean(x^2) + 1e-5), times a weight."""
    return nn.RMSNorm(size, eps=1e-5)


class SelectiveStateSpace(nn.Module):
    """Left-to-right layer on each channel: a short convolution, SiLU, and the selective scan, with a skip D u.

    It is the inner part of Mamba (arXiv 2312.00752, section 3.4), with its initialization: a_n = -n, D = 1, and step
    sizes softplus(dt_proj(.)) that are log-uniform in [0.001, 0.1].
    """

    def __init__(self, inner_size: int, state_size: int, conv_size: int, step_rank: int) -> None:
        super().__init__()
        self.split_sizes = [step_rank, state_size, state_size]
        self.conv1d = nn.Conv1d(inner_size, inner_size, conv_size, groups=inner_size)
        self.x_proj = nn.Linear(inner_size, sum(self.split_sizes), bias=False)
        self.dt_proj = nn.Linear(step_rank, inner_size)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(inner_size, 1))
        self.D = nn.Parameter(torch.ones(inner_size))
        nn.init.uniform_(self.dt_proj.weight, -(step_rank**-0.5), step_rank**-0.5)
        with torch.no_grad():
            steps = (torch.rand(inner_size) * math.log(_MAX_STEP / _MIN_STEP)).exp() * _MIN_STEP
            # Inverse of softplus.
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, x: Float[Tensor, "b l e"]) -> Float[Tensor, "b l e"]:
        """Return the output of the layer."""
        u = self._convolve(F.pad(x.transpose(1, 2), (self.conv1d.kernel_size[0] - 1, 0)))
        return selective_scan(u, *self._coefficients(u)) + self.D * u

    def extend(
        self, x: Float[Tensor, "b l e"], past: RecurrentState | None
    ) -> tuple[Float[Tensor, "b l e"], RecurrentState]:
        """Return the output at positions that follow `past`, and the state after them."""
        window = self.conv1d.kernel_size[0] - 1
        seen = x.new_zeros(x.shape[0], x.shape[2], window) if past is None else past[0]
        inputs = torch.cat((seen.to(x.dtype), x.transpose(1, 2)), -1)
        u = self._convolve(inputs)
        y, state = continue_scan(u, *self._coefficients(u), None if past is None else past[1])
        return y + self.D * u, (inputs[..., inputs.shape[-1] - window :], state)

    def _convolve(self, inputs: Tensor) -> Tensor:
        return F.silu(self.conv1d(inputs)).transpose(1, 2)

    def _coefficients(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        steps, b, c = self.x_proj(u).split(self.split_sizes, -1)
        wide = at_least_float32(self.A_log.dtype)
        # Add the bias in float32 even under autocast, because most steps are much smaller than one.
        delta = F.softplus(F.linear(steps, self.dt_proj.weight) + self.dt_proj.bias)
        return delta, -self.A_log.to(wide).exp(), b, c


class Mamba(nn.Module):
    """Mamba layer out_proj(s(x_in) * SiLU(z)), with x_in, z = in_proj(x) and s the selective state space.

    With two directions, the second reads the reversed sequence, and the results are added. Tied directions share
    in_proj and out_proj, which have most of the parameters.
    """

    def __init__(
        self, hidden_size: int, inner_size: int, state_size: int, conv_size: int, causal: bool, tie_directions: bool
    ) -> None:
        super().__init__()
        directions = 1 if causal else 2
        projections = 1 if tie_directions else directions
        step_rank = math.ceil(hidden_size / 16)
        self.in_proj = nn.ModuleList(nn.Linear(hidden_size, 2 * inner_size, bias=False) for _ in range(projections))
        self.directions = nn.ModuleList(
            SelectiveStateSpace(inner_size, state_size, conv_size, step_rank) for _ in range(directions)
        )
        self.out_proj = nn.ModuleList(nn.Linear(inner_size, hidden_size, bias=False) for _ in range(projections))

    def forward(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        """Return the output of the layer."""
        inner, gates = zip(*(project(x).chunk(2, -1) for project in self.in_proj), strict=True)
        y = self.directions[0](inner[0])
        if len(self.directions) == 1:
            return self.out_proj[0](y * F.silu(gates[0]))
        reverse = self.directions[1](inner[-1].flip(1)).flip(1)
        if len(self.out_proj) == 1:
            return self.out_proj[0]((y + reverse) * F.silu(gates[0]))
        return self.out_proj[0](y * F.silu(gates[0])) + self.out_proj[1](reverse * F.silu(gates[1]))

    def extend(
        self, x: Float[Tensor, "b l d"], past: RecurrentState | None
    ) -> tuple[Float[Tensor, "b l d"], RecurrentState]:
        """Return the output at positions that follow `past`, and the state after them."""
        inner, gate = self.in_proj[0](x).chunk(2, -1)
        (state_space,) = self.directions
        assert isinstance(state_space, SelectiveStateSpace)
        y, past = state_space.extend(inner, past)
        return self.out_proj[0](y * F.silu(gate)), past


class MambaBlock(nn.Module):
    """Residual block x + gate * mamba(modulated norm of x)."""

    def __init__(
        self,
        hidden_size: int,
        state_size: int,
        conv_size: int,
        expand: int,
        cond_size: int,
        dropout: float,
        causal: bool,
        tie_directions: bool,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = rms_norm(hidden_size)
        self.mixer = Mamba(hidden_size, expand * hidden_size, state_size, conv_size, causal, tie_directions)
        self.adaLN_modulation = zero_linear(cond_size, 3 * hidden_size)

    def forward(self, x: Float[Tensor, "b l d"], condition: Float[Tensor, "b c"]) -> Float[Tensor, "b l d"]:
        """Return the residual stream after the block."""
        shift, scale, gate = self.adaLN_modulation(condition).unsqueeze(1).chunk(3, dim=-1)
        mixed = self.mixer(modulate(self.norm(x), shift, scale))
        return x + gate * F.dropout(mixed, self.dropout, self.training)

    def extend(
        self, x: Float[Tensor, "b l d"], condition: Float[Tensor, "b c"], past: RecurrentState | None
    ) -> tuple[Float[Tensor, "b l d"], RecurrentState]:
        """Return the residual stream at positions that follow `past`, and the state after them."""
        shift, scale, gate = self.adaLN_modulation(condition).unsqueeze(1).chunk(3, dim=-1)
        mixed, past = self.mixer.extend(modulate(self.norm(x), shift, scale), past)
        return x + gate * F.dropout(mixed, self.dropout, self.training), past
