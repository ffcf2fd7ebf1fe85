import csv
from pathlib import Path

import pytest
import torch

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import load, newest
from discrete_diffusion.datasets import decode
from discrete_diffusion.guidance import last
from discrete_diffusion.processes import AutoregressiveNLL

PUBLISHED = ["objective=nelbo", "parameterization=leave_one_out"]


@pytest.mark.parametrize("model", ["ar", "mdlm", "udlm", "marginal"])
@pytest.mark.filterwarnings("default")
def test_a_run_leaves_a_checkpoint_that_samples_and_measures(run, tmp_path: Path, model: str):
    trained = run(tmp_path / "run", f"model={model}", "label=none" if model == "marginal" else "label=qed")
    found = load(newest(tmp_path))
    for name, weight in trained.network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[name], weight)

    labelled = model != "marginal"
    y = torch.ones(3, dtype=torch.long) if labelled else None
    generator = torch.Generator().manual_seed(0)
    tokens = last(found.sampler()(found.denoiser(), (3, found.length), y=y, generator=generator))
    assert tokens.shape == (3, found.length)
    assert len(decode(found.tokenizer, tokens)) == 3

    data = found.data()
    assert len(data.train) + len(data.validation) == 300
    x0 = data.validation["input_ids"][:]
    with torch.no_grad():
        terms = found.objective().terms(found.denoiser(), x0, y=data.validation["label"][:] if labelled else None)
    assert 0 < terms.total.sum(-1).mean().item() < float("inf")

    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["val/nll"]] == ["1", "3"]
    samples = (tmp_path / "run" / "samples" / "step-000004.txt").read_text().splitlines()
    assert len(samples) == 64


def test_wrong_settings_of_the_sampler_are_refused_before_the_training(run, tmp_path: Path):
    with pytest.raises(ValueError, match="Expected 0 <= `psi` <= 1, got 2"):
        run(tmp_path / "run", "lift.psi=2")
    assert not (tmp_path / "run" / "settings.yaml").exists()


@pytest.mark.filterwarnings("default")
def test_training_learns(run, tmp_path: Path):
    """More steps on few rows must bring the validation bound down: a loss that is not descended would not."""
    run(tmp_path / "run", "steps=60", "validate_every=30", "lr_scheduler.num_warmup_steps=5", *PUBLISHED)
    rows = csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines())
    first, second = (float(row["val/nll"]) for row in rows if row["val/nll"])
    untrained = 22 * torch.tensor(25.0).log().item()
    assert second < first < untrained


@pytest.mark.filterwarnings("default")
def test_a_resumed_run_is_the_same_run(run, tmp_path: Path):
    options = ["steps=6", "validate_every=3", "backbone.dropout=0.1", "callbacks.checkpoints.save_top_k=-1"]
    whole = run(tmp_path / "whole", *options)
    half = tmp_path / "whole" / "checkpoints" / "step-000003.ckpt"
    assert torch.load(half, weights_only=True)["global_step"] == 3
    resumed = run(tmp_path / "resumed", *options, f"resume={half}")
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name


@pytest.mark.filterwarnings("default")
def test_the_last_step_is_saved_and_validated(run, tmp_path: Path):
    run(tmp_path / "run", "steps=5", "validate_every=3", "preview.samples=2")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 5
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"last.ckpt", "step-000005.ckpt"}
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["val/nll"]] == ["2", "4"]
    assert sorted(path.stem for path in (tmp_path / "run" / "samples").iterdir()) == ["step-000003", "step-000005"]


@pytest.mark.filterwarnings("default")
def test_a_run_without_a_regular_validation_saves_the_weights_that_it_trains(run, tmp_path: Path):
    made = run(tmp_path / "run", "steps=2", "validate_every=1000", "preview.samples=2")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    average, current = saved["state_dict"], saved["current_model_state"]
    assert all(torch.equal(average[f"network.{name}"], weight) for name, weight in made.network.state_dict().items())
    assert not all(torch.equal(average[name], weight) for name, weight in current.items())


@pytest.mark.filterwarnings("default")
def test_a_finished_run_goes_on_to_the_same_weights(run, tmp_path: Path):
    options, constant = ["validate_every=3", "preview.samples=2"], "lr_scheduler=constant"
    whole = run(tmp_path / "whole", *options, constant, "steps=8")
    run(tmp_path / "half", *options, constant, "steps=5")
    resumed = run(tmp_path / "rest", *options, "steps=8", f"resume={tmp_path / 'half' / 'checkpoints' / 'last.ckpt'}")
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name


@pytest.mark.filterwarnings("default")
def test_any_column_of_strings_trains(run, tmp_path: Path):
    table = tmp_path / "words.csv"
    table.write_text("word,kind\n" + "".join(f"{'ab' * (i % 5 + 1)},{'xy'[i % 2]}\n" for i in range(40)))
    options = ["data=table", f"data.path={table}", "data.column=word"]
    run(tmp_path / "bare", *options)
    found = run(tmp_path / "labelled", *options, "label=category", "label.column=kind")
    assert found.label.class_names == ("x", "y")
    assert set("ab") < set(found.tokenizer.get_vocab())


def test_several_columns_are_one_condition(run, tmp_path: Path):
    rows = "".join(f"{'ab' * (i % 5 + 1)},{'xy'[i % 2]},{i % 5}\n" for i in range(40))
    (tmp_path / "words.csv").write_text("word,kind,size\n" + rows)
    options = ["data=table", f"data.path={tmp_path / 'words.csv'}", "data.column=word", "label=joint"]
    run(tmp_path / "run", *options, "label.labels=[{column: size, threshold: 2}, {column: kind}]")
    found = load(tmp_path / "run" / "checkpoint")
    assert found.label.class_names[-1] == "size > 2, kind = y"
    assert found.null_label == found.network.num_classes == 4
    named = found.sample(2, y="size > 2, kind = y", steps=2, seed=0)
    assert torch.equal(named, found.sample(2, y=3, steps=2, seed=0))
    assert set(found.data().train["label"][:].tolist()) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="Expected `y` to be one of size <= 2, kind = x, "):
        found.sample(1, y="size > 3, kind = y")


def test_what_a_tokenizer_lacks_is_added_where_a_model_needs_it(run, tmp_path: Path):
    letters = ["data=prose", "data.length=32"]
    sizes = {}
    for model in ("udlm", "mdlm", "ar"):
        made = run(tmp_path / model, f"model={model}", *letters)
        sizes[model] = len(made.tokenizer), made.tokenizer.mask_token, made.tokenizer.bos_token
        assert len(load(tmp_path / model / "checkpoint").tokenizer) == sizes[model][0]
    assert sizes == {"udlm": (27, None, None), "mdlm": (28, "<mask>", None), "ar": (28, None, "<bos>")}


def test_a_left_to_right_model_s_preview_reads_every_token_once(run, tmp_path: Path, monkeypatch):
    fed = []
    extend = DiT.extend

    def counted(self, tokens, *args, **kwargs):
        fed.append(tokens.shape[1])
        return extend(self, tokens, *args, **kwargs)

    monkeypatch.setattr(DiT, "extend", counted)
    made = run(tmp_path / "run", "model=ar", "label=none")
    assert fed == [1] * made.length * 2  # two previews


def test_augmented_data_are_trained_on_anew_each_time(run, tmp_path: Path, monkeypatch):
    seen = []
    loss = AutoregressiveNLL.loss

    def kept(self, denoiser, x0, *args, **kwargs):
        seen.append(x0)
        return loss(self, denoiser, x0, *args, **kwargs)

    monkeypatch.setattr(AutoregressiveNLL, "loss", kept)
    crops = ["data=text8_crops", "data.path=" + str(tmp_path / "text8.txt"), "data.length=16", "tokenizer=letters"]
    (tmp_path / "text8.txt").write_text("the quick brown fox jumps over the lazy dog " * 300)
    run(tmp_path / "run", "model=ar", *crops)
    assert {x0.shape[1] for x0 in seen} == {16}


@pytest.mark.parametrize("group", ["callbacks", "logger"])
def test_an_entry_that_is_not_lightning_s_is_refused(run, tmp_path: Path, group: str):
    with pytest.raises(ValueError, match=rf"Expected `{group}\.other` to be a .* of Lightning"):
        run(tmp_path / "run", f"+{group}.other._target_=os.getcwd")


@pytest.mark.filterwarnings("default")
def test_entries_that_are_null_are_left_out(run, tmp_path: Path):
    run(tmp_path / "run", "callbacks.checkpoints=null", "logger.csv=null", "preview.samples=0")
    assert not list((tmp_path / "run").glob("**/*.csv"))
    assert load(newest(tmp_path))
