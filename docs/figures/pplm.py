"""Draw docs/images/guidance/pplm.png: python docs/figures/pplm.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from panels import draw_row
from torch import Tensor
from torch.nn.functional import one_hot, pad
from world import SIZE, classes, ring

from discrete_diffusion.guidance import PPLM, Model

PROMPT, BOS = SIZE, SIZE + 1  # the prompt stands first, so that both tokens have a past that can be moved
Past = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Attentive:
    """The exact model of the ring from left to right, with one head of attention that remembers nothing yet.

    Its hidden states are what was read (a token, or a mixture of tokens) beside the logits of what follows; to those
    the head adds the mean of the values, all zero, weighed by the keys.
    """

    left_to_right: ClassVar[bool] = True
    bos_id: ClassVar[int] = BOS

    def extend(self, tokens: Tensor, past: Past | None, *, y: Tensor | None = None) -> tuple[Tensor, Past]:
        """Hidden states (b, k, 36) of `tokens`, ids (b, k) or mixtures (b, k, 18), and the past with them."""
        follows = torch.ones(SIZE + 2, SIZE + 2, dtype=torch.float64)
        follows[:SIZE] = pad(ring(), (0, 2))
        follows[PROMPT] = pad(ring().sum(1), (0, 2))
        follows[BOS] = one_hot(torch.tensor(PROMPT), SIZE + 2)
        follows = follows / follows.sum(1, keepdim=True)
        mixtures = tokens if tokens.is_floating_point() else one_hot(tokens, SIZE + 2).double()
        keys = mixtures.new_zeros(len(mixtures), 1, mixtures.shape[1], 1)
        values = keys.expand(-1, -1, -1, SIZE + 2)
        if past is not None:
            keys, values = torch.cat([past[0][0], keys], 2), torch.cat([past[0][1], values], 2)
        remembered = (keys.softmax(2) * values).sum(2)
        logits = (mixtures @ follows).clamp(min=1e-30).log() + remembered
        return torch.cat([mixtures, logits], -1), ((keys, values),)

    def next_token(self, hidden: Tensor, *, y: Tensor | None = None) -> Tensor:
        """log p of what follows each of the tokens, (b, k, 18)."""
        return hidden[..., SIZE + 2 :].log_softmax(-1)

    def __call__(self, x: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """(b, l, 18), or (n, 18) of `at`."""
        log_probs = self.next_token(self.extend(pad(x[:, :-1], (1, 0), value=BOS), None)[0])
        return log_probs if at is None else log_probs[at]


def likelihood(hidden: Tensor, t: Tensor) -> Tensor:
    """log p(y = 1) of the tokens read so far behind bos and prompt, the last of them a mixture."""
    read = hidden[:, 2:, :SIZE]
    first = ring().sum(1)[:, None]
    if read.shape[1] == 1:
        return (read[:, 0] @ ((ring() * classes()[..., 1]).sum(1, keepdim=True) / first))[:, 0].log()
    return torch.einsum("bi,bj,ij->b", read[:, 0], read[:, 1], classes()[..., 1]).log()


def distribution(model: Model) -> Tensor:
    """The distribution (16, 16) of the two tokens behind the prompt."""
    x = pad(torch.arange(SIZE)[:, None].repeat(1, 2), (1, 0), value=PROMPT)
    first, second = model(x, torch.ones(SIZE, dtype=torch.float64)).exp()[:, 1:, :SIZE].unbind(1)
    return first[0][:, None] * second


def draw(path: Path) -> None:
    """Draw few steps, many, and many held near the unguided distribution by a divergence or a geometric mean."""
    model = Attentive()
    distributions = [("unguided", distribution(model))]
    for title, steps, kl, fusion in (
        ("3 steps", 3, 0, 1),
        ("10 steps", 10, 0, 1),
        ("30 steps", 30, 0, 1),
        ("30 steps, kl = 0.3", 30, 0.3, 1),
        ("30 steps, fusion = 0.5", 30, 0, 0.5),
    ):
        guided = PPLM(model, likelihood, gamma=1.0, steps=steps, step_size=1.0, kl=kl, fusion=fusion)
        distributions.append((title, distribution(guided)))
    draw_row(path, distributions)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "pplm.png")
