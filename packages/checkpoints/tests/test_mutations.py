"""Damaged and hostile config.json: one error of a known class, at once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from discrete_diffusion.checkpoints import Checkpoint, load


@pytest.mark.parametrize("file", ["config.json", "label.json", "tokenizer.json", "tokenizer_config.json"])
def test_only_errors_of_the_user_come_out(
    checkpoint: Checkpoint, tmp_path: Path, file: str, mutate: Callable[..., None]
):
    def use(folder: Path) -> None:
        load(folder).sample(1, steps=1)

    mutate(checkpoint.save(tmp_path / "checkpoint") / file, use)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", "{", "[" * 100_000, '{"format": 2}', "\x00", '{"format": NaN}']
)
@pytest.mark.parametrize("file", ["config.json", "label.json"])
def test_what_is_not_a_description(checkpoint: Checkpoint, tmp_path: Path, file: str, text: str):
    folder = checkpoint.save(tmp_path / "checkpoint")
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=str(folder)):
        load(folder)


def test_deep_nesting_is_refused(checkpoint: Checkpoint, tmp_path: Path):
    folder = checkpoint.save(tmp_path / "checkpoint")
    text = (
        (folder / "config.json").read_text().replace('"length": 12', '"length": 12, "deep": ' + "[" * 900 + "]" * 900)
    )
    (folder / "config.json").write_text(text)
    try:
        load(folder)
    except ValueError as error:
        assert "cannot be read" in str(error)  # noqa: PT017, the depth that fails depends on the caller's


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["backbone"].update(num_blocks=10_000_000), "more than the .* weights"),
        (lambda c: c["backbone"].update(num_blocks=10**12), "Expected `num_blocks` <="),
        (lambda c: c["backbone"].update(hidden_size=10_000_000), "cannot be read"),
        (lambda c: c["backbone"].update(num_classes=10**9), "Expected `num_classes` <="),
        (lambda c: c.update(length=1_000_000_000), "Expected 1 <= `length` <= 1,048,576"),
        (lambda c: c.update(length=0), "Expected 1 <= `length`"),
        (lambda c: c.update(length=True), "another value of `length`"),
        (lambda c: c["model"]["sampler"].update(steps=10**12), "Expected `steps` <="),
        (lambda c: c["model"]["denoiser"]["process"].update(vocab_size=10**12), "Expected one `vocab_size`"),
        (lambda c: c["model"].pop("sampler"), "a dictionary with a `_target_` as `sampler`"),
        (lambda c: c["model"]["sampler"]["process"].update(vocab_size=9), "Expected one `vocab_size`"),
        (lambda c: c["model"]["sampler"]["process"].update(_partial_=True), "Expected no `_partial_` of `process`"),
        (lambda c: c["model"]["sampler"]["lift"].pop("process"), "Ancestral.* 'process'"),
        (lambda c: c["model"].update(process=3), "a dictionary with a `_target_` as `process`"),
        (lambda c: c["model"]["denoiser"].update(process=None), "another value of 'process', got None"),
        (lambda c: c["data"].update(length=100_000), "Expected one `length` .* got 12 and 100000 of its data"),
        (lambda c: c["model"]["sampler"].update(steps=1.5), "another value of 'steps'"),
        (lambda c: c["model"]["sampler"].update(steps=10**400), "Expected `steps` <="),
        (lambda c: c["model"].update(causal="maybe"), "another value of `causal`"),
        (lambda c: c["model"].update(needs=[3]), "another value of `needs`"),
        (lambda c: c["backbone"].update(causal="maybe"), "another value of 'causal'"),
        (lambda c: c.update(model=[]), "another value of `model`"),
        (
            lambda c: c.update(
                backbone={
                    "_target_": "discrete_diffusion.backbones.HuggingFaceMaskedLM",
                    "config": {"model_type": "bert", "num_hidden_layers": 10_000_000, "hidden_size": 12},
                }
            ),
            "cannot be read",
        ),
    ],
)
def test_sizes_beyond_the_weights_are_refused_before_anything_is_built(
    checkpoint: Checkpoint, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
):
    folder = checkpoint.save(tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("column", 5),
        ("column", ["smiles"]),
        ("layout", None),
        ("augment", "flip"),
        ("validation", "a tenth"),
        ("validation", [0.1]),
        ("seed", "one"),
        ("max_dropped", "all"),
        ("allow_unknown", "yes"),
    ],
)
def test_settings_of_the_data_of_other_types_are_refused(checkpoint: Checkpoint, entry: str, value: object):
    rows = {"_target_": "discrete_diffusion.datasets.molecules", "size": 2}
    config = {**checkpoint.config, "data": {"kind": "molecules", "rows": rows, "column": None, entry: value}}
    with pytest.raises(ValueError, match=f"data: expected another value of '{entry}'"):
        replace(checkpoint, config=config).data()


def test_a_vocabulary_with_an_id_twice_is_refused(checkpoint: Checkpoint, tmp_path: Path):
    folder = checkpoint.save(tmp_path / "checkpoint")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["C"] = tokenizer["model"]["vocab"]["O"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="each once"):
        load(folder)


@pytest.mark.parametrize(
    ("begins", "message"),
    [
        ({"denoiser": 10**6, "sampler": 10**6}, "symbols and `bos_id` is 1000000"),
        ({"denoiser": -1, "sampler": -1}, "symbols and `bos_id` is -1"),
        ({"denoiser": 1, "sampler": 0}, "Expected one `bos_id` .* got 1 and 0"),
        ({"denoiser": None, "sampler": None}, "another value of 'bos_id', got None"),
    ],
)
def test_a_beginning_outside_of_the_vocabulary_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, begins: dict[str, int | None], message: str
):
    model = {
        "denoiser": {"_target_": "discrete_diffusion.processes.NextToken", "_partial_": True, "bos_id": 0},
        "objective": {"_target_": "discrete_diffusion.processes.AutoregressiveNLL"},
        "sampler": {"_target_": "discrete_diffusion.guidance.AutoregressiveSampler", "bos_id": 0},
    }
    for part, bos_id in begins.items():
        model[part]["bos_id"] = bos_id
    folder = replace(checkpoint, config={**checkpoint.config, "model": model}).save(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match=message):
        load(folder)
