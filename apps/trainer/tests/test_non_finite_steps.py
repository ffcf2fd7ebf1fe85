"""Losses, gradients and weights that are not finite."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from discrete_diffusion.checkpoints import load
from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.non_finite_steps import NonFiniteError

OPTIONS = ["validate_every=2", "preview.samples=0", "~callbacks.average"]


@pytest.fixture
def spoil(monkeypatch):
    """Make the loss of some batches NaN, or their gradients."""

    def spoil(*numbers: int, gradient: bool = False) -> None:
        step, calls = Generator.training_step, iter(range(1, 10_000))

        def spoiled(self, batch):
            loss = step(self, batch)
            if next(calls) not in numbers:
                return loss
            if gradient:
                loss.register_hook(lambda gradient: gradient * torch.inf)
                return loss
            return loss * torch.nan

        monkeypatch.setattr(Generator, "training_step", spoiled)

    return spoil


@pytest.mark.parametrize("gradient", [False, True], ids=["loss", "gradient"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.filterwarnings("default")
def test_a_spoiled_step_is_skipped_and_its_batch_is_kept(run, spoil, tmp_path: Path, capsys, gradient, optimizer):
    spoil(1, 3, gradient=gradient)
    made = run(tmp_path / "run", "steps=4", f"optimizer={optimizer}", *OPTIONS)
    assert all(weight.isfinite().all() for weight in made.network.parameters())
    kept = sorted((tmp_path / "run" / "skipped").iterdir())
    assert [path.name for path in kept] == ["step-000001.safetensors", "step-000003.safetensors"]
    assert load_file(kept[0])["input_ids"].shape == (8, made.length)
    printed = capsys.readouterr().out
    assert "step 3 skipped: loss or gradient is not finite" in printed
    assert "2 skipped so far" in printed
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["SkipNonFinite"]
    assert state == {"count": 2, "in_row": 0}


@pytest.mark.filterwarnings("default")
def test_a_skipped_step_changes_nothing(run, spoil, tmp_path: Path):
    spoil(1, 2)
    run(tmp_path / "run", "steps=2", *OPTIONS, "callbacks.checkpoints.every_n_minutes=0")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["state"] == {}


@pytest.mark.filterwarnings("default")
def test_accumulated_batches_are_skipped_together(run, spoil, tmp_path: Path):
    spoil(2)
    made = run(tmp_path / "run", "steps=2", "trainer.accumulate_grad_batches=3", *OPTIONS)
    (kept,) = (tmp_path / "run" / "skipped").iterdir()
    assert load_file(kept)["input_ids"].shape == (24, made.length)
    assert all(weight.isfinite().all() for weight in made.network.parameters())


@pytest.mark.filterwarnings("default")
def test_too_many_in_a_row_stop_the_run_with_one_line(run, spoil, tmp_path: Path):
    spoil(1, 3, 4, 5)
    with pytest.raises(NonFiniteError, match="Stopped at step 5: the loss is nan at a learning rate of") as stopped:
        run(tmp_path / "run", "steps=9", "max_skipped_steps=3", *OPTIONS)
    assert "\n" not in str(stopped.value)
    assert "resume=RUN" in str(stopped.value)
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert not (tmp_path / "run" / "checkpoint").exists()
    with pytest.raises(ValueError, match="Expected `max_skipped_steps` >= 1"):
        run(tmp_path / "none", "max_skipped_steps=0", *OPTIONS)


@pytest.mark.filterwarnings("default")
def test_non_finite_weights_are_not_saved(run, tmp_path: Path, monkeypatch):
    made = run(tmp_path / "run", "steps=4", *OPTIONS)
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes()
    name, weight = next(iter(made.network.named_parameters()))
    weight.data.view(-1)[0] = torch.inf
    with pytest.raises(ValueError, match=f"Expected finite weights in the DiT of .*, but {name} has"):
        made.save(tmp_path / "run" / "checkpoint")
    with pytest.raises(ValueError, match=f"Expected finite weights in the DiT of this checkpoint, but {name} has"):
        made.sample(2)
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes() == before
    load(tmp_path / "run")

    def spoil(self, *args) -> None:
        next(self.network.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(Generator, "on_train_batch_end", spoil)
    saved = tmp_path / "spoiled" / "checkpoints" / "last.ckpt"
    with pytest.raises(ValueError, match="Expected finite weights"):
        run(tmp_path / "spoiled", "steps=3", *OPTIONS)
    assert not saved.exists() or torch.load(saved, weights_only=True)["global_step"] < 2
