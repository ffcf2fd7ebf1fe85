import json
import re

import pytest

from discrete_diffusion import models


def test_every_model_has_its_parts_and_a_card():
    assert models.names()
    for name in models.names():
        files = {file.name for file in models.folder(name).iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json", "reference.safetensors", "README.md"} <= files
        card = (models.folder(name) / "README.md").read_text()
        assert card.startswith(f"# {name}\n")
        for part in ("## Data", "## Training", "## Results", "## Limits"):
            assert part in card


def test_no_model_names_a_place_of_the_machine_that_trained_it():
    for name in models.names():
        for file in models.folder(name).rglob("*.json"):
            assert not re.search(r'"(/\w+/|\w:\\)', file.read_text())
        rows = json.loads((models.folder(name) / "config.json").read_text())["data"]["rows"]
        assert rows["path"] is None


def test_all_models_are_small():
    sizes = [file.stat().st_size for name in models.names() for file in models.folder(name).rglob("*")]
    assert sum(sizes) < 12e6


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=rf"Expected one of the models {models.names()[0]}.*, got 'qm9'"):
        models.folder("qm9")
