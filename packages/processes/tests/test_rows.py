import pytest
import torch
from torch import Generator

from discrete_diffusion.processes import Absorbing, Marginal, Process, Uniform
from discrete_diffusion.schedules import BatchGenerator, LogLinear

PROCESSES = [
    Absorbing(LogLinear(), 5, mask_id=4),
    Uniform(LogLinear(), 5),
    Marginal(LogLinear(), [0.1, 0.2, 0.3, 0.2, 0.2]),
]


@pytest.mark.parametrize("process", PROCESSES)
def test_noise_does_not_depend_on_the_split(process: Process):
    x0, t = torch.randint(4, (6, 9)), torch.linspace(0.1, 1, 6)
    whole = process.corrupt(x0, t, generator=Generator().manual_seed(3))
    parts = []
    for first, end in ((0, 2), (2, 6)):
        generator = BatchGenerator()
        generator.whole.manual_seed(3)
        generator.first, generator.rows = first, 6
        parts.append(process.corrupt(x0[first:end], t[first:end], generator=generator))
    assert torch.equal(torch.cat(parts), whole)
