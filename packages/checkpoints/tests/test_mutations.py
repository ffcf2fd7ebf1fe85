"""Damaged and hostile config.json: one error of a known class, at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discrete_diffusion.checkpoints import Checkpoint, load

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10_000_000, 1_000_000_000, "os.system", "discrete_diffusion.processes.Uniform"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["_target_", "x", "process"]), inner),
    max_leaves=4,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every entry of a nested dictionary or list, as its holder and key."""
    entries = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [place for key, child in entries for place in [(node, key), *places(child)]]


@pytest.mark.parametrize("file", ["config.json", "label.json"])
def test_only_errors_of_the_user_come_out(checkpoint: Checkpoint, tmp_path: Path, file: str):
    folder = checkpoint.save(tmp_path / "checkpoint")
    original = (folder / file).read_text()

    @settings(
        max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.data())
    def mutate(data: st.DataObject) -> None:
        content = json.loads(original)
        for _ in range(data.draw(st.integers(1, 2))):
            found = places(content)
            if not found:
                break
            holder, key = found[data.draw(st.integers(0, len(found) - 1))]
            if data.draw(st.booleans()) or isinstance(holder, list):
                holder[key] = data.draw(VALUES)
            else:
                del holder[key]
        (folder / file).write_text(json.dumps(content))
        try:
            load(folder)
        except (ValueError, FileNotFoundError) as error:
            assert str(error)  # noqa: PT017, most mutations fail and some do not

    mutate()


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
        (lambda c: c["model"]["denoiser"]["process"].update(vocab_size=10**12), "Expected `vocab_size` <="),
        (lambda c: c["model"].pop("sampler"), "a dictionary with a `_target_` as `sampler`"),
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
