"""Model cards."""

from dataclasses import replace

from discrete_diffusion.checkpoints import Checkpoint, RunResults
from discrete_diffusion.checkpoints.transformers_export.card import model_card


def rows(card: str) -> list[list[str]]:
    """The cells of its tables."""
    lines = [line for line in card.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def front(card: str) -> list[str]:
    """The lines between the two that the hub reads them from."""
    return card.split("---\n")[1].splitlines()


def test_it_reports_the_results(checkpoint: Checkpoint):
    row = {"guidance": "D-CFG", "gamma": 2.0, "condition": "qed > 0.5", "generated": 1024.0, "valid": 800.5}
    row |= {"novel_property_mean": 0.61, "seconds": None}
    likelihood = {"nats_per_sequence": 28.1258, "perplexity": None, "repeats": 1}
    results = RunResults({"val/nll": 7.25}, likelihood, (row,), "qed")
    card = model_card(checkpoint, name="owner/tiny", license="apache-2.0", results=results)
    assert ["process", "`Uniform`, uniform noise (UDLM, arXiv 2412.10193)"] in rows(card)
    assert ["schedule", "`LogLinear(eps=0.001)`"] in rows(card)
    assert ["parameters", f"{sum(p.numel() for p in checkpoint.network.parameters()):,}"] in rows(card)
    assert "At the end of training, in nats per sequence of validation data: nll 7.25." in card
    assert ["nats per sequence", "28.13"] in rows(card)
    assert ["guidance", "γ", "condition", "samples", "valid", "mean qed of novel"] in rows(card)
    assert ["D-CFG", "2", "qed > 0.5", "1,024", "800.5", "0.61"] in rows(card)
    assert 'from_pretrained("owner/tiny", trust_remote_code=True)' in card
    assert '`y` is a class: 0 (qed <= 0.5), 1 (qed > 0.5); 2 is "no condition".' in card


def test_what_the_hub_reads(checkpoint: Checkpoint):
    lines = front(model_card(checkpoint, name="tiny", license="apache-2.0"))
    assert lines[:4] == ["license: apache-2.0", "library_name: transformers", "pipeline_tag: text-generation", "tags:"]
    assert set(lines[4:]) == {
        "- discrete-diffusion",
        "- uniform-diffusion",
        "- molecules",
        "- classifier-free-guidance",
    }


def test_a_licence_that_nobody_gave_is_not_made_up(checkpoint: Checkpoint):
    card = model_card(checkpoint, name="tiny")
    assert front(card)[0] == "license: unknown"
    assert "licence of the weights is not stated" in card


def test_without_an_evaluation(checkpoint: Checkpoint):
    card = model_card(checkpoint, name="tiny")
    assert "## Measurements\n\nNone were made.\n\n## Samples" in card
    assert "nan" not in card


def test_samples_are_its_own(checkpoint: Checkpoint):
    card = model_card(checkpoint, name="tiny")
    assert "From seed 0, class qed > 0.5, gamma 2, not selected:" in card
    assert card == model_card(checkpoint, name="tiny")
    assert len(card.split("```text\n")[1].split("\n```")[0].splitlines()) == 4


def test_images_are_not_printed(checkpoint: Checkpoint):
    image = {"height": 2, "width": 3, "channels": 2, "levels": 10}
    described = {**checkpoint.config, "data": {"kind": "images", "image": image}}
    card = model_card(replace(checkpoint, config=described), name="tiny")
    assert "images = ids.unflatten(1, (2, 3, 2))" in card
    assert "## Samples\n\nNone are shown." in card
    assert "pipeline_tag: unconditional-image-generation" in card
