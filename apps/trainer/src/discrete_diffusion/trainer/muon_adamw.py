"""Muon for the hidden matrices, AdamW for everything else, as one optimizer."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) orthogonalizes the momentum of a matrix, which learns in fewer steps than AdamW.

    It is meant for matrices inside the network; embeddings, modulations, the output layer and vectors stay with AdamW.
    Both are torch's own, under one schedule of the learning rate.

    Args:
        named_parameters: Named parameters of the network.
        matrices: Regular expression; Muon updates the parameters whose full name it matches.
        muon: Function from parameters to the optimizer of the matrices.
        adamw: Function from parameters to the optimizer of the other parameters.

    Raises:
        ValueError: If no parameter name matches.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        matrices: str,
        muon: Callable[..., torch.optim.Optimizer],
        adamw: Callable[..., torch.optim.Optimizer],
    ) -> None:
        chosen: dict[bool, list[tuple[str, nn.Parameter]]] = {True: [], False: []}
        for name, parameter in named_parameters:
            chosen[re.fullmatch(matrices, name) is not None].append((name, parameter))
        if not chosen[True]:
            raise ValueError(f"Expected `matrices` = {matrices!r} to match a parameter, but it matches none.")
        self.parts = (muon(chosen[True]), adamw(chosen[False]))
        super().__init__([group for part in self.parts for group in part.param_groups], dict(self.parts[0].defaults))
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters with both optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both optimizers."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        # State is keyed by parameter and schedules write into the groups: both parts must see these very objects.
        split = len(self.parts[0].param_groups)
        for part, groups in zip(self.parts, (self.param_groups[:split], self.param_groups[split:]), strict=True):
            part.state, part.param_groups = self.state, groups
