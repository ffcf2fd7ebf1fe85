"""Strings with gaps: fixed parts stay under every sampler and every gap."""

import re
from dataclasses import replace

import pytest
import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.checkpoints.infill import FREE, read_template, read_templates, tokens_of
from discrete_diffusion.datasets import character_tokenizer, letter_tokenizer, smiles_tokenizer, word_tokenizer
from discrete_diffusion.guidance import SampleStreams

GUIDANCE = "discrete_diffusion.guidance"
MASKED = [
    {"_target_": f"{GUIDANCE}.AncestralSampler"},
    {"_target_": f"{GUIDANCE}.MaskedAncestralSampler"},
    {"_target_": f"{GUIDANCE}.FirstHittingSampler"},
    {"_target_": f"{GUIDANCE}.OrderSampler", "order": {"_target_": f"{GUIDANCE}.HighestConfidence"}},
]


def with_sampler(checkpoint: Checkpoint, sampler: dict, *, masked: bool = True) -> Checkpoint:
    """The same network under masked noise, and a sampler."""
    model = checkpoint.config["model"]
    process = model["denoiser"]["process"]
    if masked:
        absorbing = "discrete_diffusion.processes.Absorbing"
        process = {**process, "_target_": absorbing, "mask_id": checkpoint.tokenizer.mask_token_id}
    sampler = {**sampler, "process": process}
    if sampler["_target_"] in (f"{GUIDANCE}.AncestralSampler", f"{GUIDANCE}.MaskedAncestralSampler"):
        sampler["steps"] = 3
    if sampler["_target_"] == f"{GUIDANCE}.AncestralSampler":
        sampler["lift"] = {**model["sampler"]["lift"], "process": process}
    model = {**model, "denoiser": {**model["denoiser"], "process": process}, "sampler": sampler}
    return replace(checkpoint, config={**checkpoint.config, "model": model})


@pytest.mark.parametrize("sampler", [*MASKED, None], ids=lambda one: "Uniform" if one is None else one["_target_"])
def test_held_letters_stay(checkpoint: Checkpoint, sampler):
    model = with_sampler(checkpoint, sampler or MASKED[0], masked=sampler is not None)
    for string in model.complete("CC[MASK]O__C", 8, seed=0):
        symbols = re.findall(r"\[.*?\]|.", string)
        assert len(symbols) == 7
        assert (symbols[:2], symbols[3], symbols[6]) == (["C", "C"], "O", "C")
        assert "<" not in string
    for string in model.complete("O[*:1]CC", 8, seed=0, gap=(0, 3)):
        assert string.startswith("O")
        assert string.endswith("CC")
        assert 3 <= len(re.findall(r"\[.*?\]|.", string)) <= 6
    assert all(string.startswith("CO") for string in model.complete("CO[*]", 4, seed=0))


def test_each_string_depends_on_the_seed_and_its_index_alone(checkpoint: Checkpoint):
    whole = checkpoint.complete("C[*]O", 6, seed=3, y="qed > 0.5", gap=(1, 5))
    assert checkpoint.complete("C[*]O", 2, seed=3, first=4, y=1, gap=(1, 5)) == whole[4:]
    assert len({len(string) for string in whole}) > 1
    generator = torch.Generator().manual_seed(0)
    assert len(checkpoint.complete("C[*]O", 3, generator=generator, steps=1)) == 3


def test_each_string_fills_one_of_several_texts(checkpoint: Checkpoint):
    texts = ["C[*]", "O[*]C", "N[*]C"]
    with pytest.raises(ValueError, match="tokens that the model knows, got 'N'"):
        checkpoint.complete(texts, 2)
    texts[2] = "c1[*]c1"
    strings = checkpoint.complete(texts, 60, seed=0, gap=(1, 2))
    assert checkpoint.complete(texts, 5, seed=0, first=55, gap=(1, 2)) == strings[55:]
    counts = [sum(string.startswith(beginning) for string in strings) for beginning in ("C", "O", "c1")]
    assert sum(counts) == 60
    assert min(counts) >= 10
    sizes = {len(re.findall(r"\[.*?\]|.", string)) for string in strings if string.startswith("O")}
    assert sizes == {3, 4}
    with pytest.raises(ValueError, match="Expected at least one text, got none"):
        checkpoint.complete([], 2)


def test_a_beginning_has_its_free_places_at_the_end():
    tokenizer = smiles_tokenizer(["CCO"])
    read = [read_templates(text, tokenizer, 9, {}) for text in ("CC[*]", "C_[*]", "CC_", "C[*]O[*]", ["C[*]", "O[*]"])]
    assert [template.is_beginning for template in read] == [True, False, False, False, True]


def test_an_allowed_table_binds_free_places_alone(checkpoint: Checkpoint):
    carbon = checkpoint.tokenizer.get_vocab()["C"]
    allowed = torch.zeros(checkpoint.length, len(checkpoint.tokenizer), dtype=torch.bool)
    allowed[:, carbon] = True
    assert checkpoint.complete("O__O", 2, seed=0, allowed=allowed) == ["OCCO", "OCCO"]


def test_gaps_have_every_size_that_fits():
    tokenizer = character_tokenizer(["abc"])
    template = read_template("a[*]b[*]c", tokenizer, 9, {}, (1, 9))
    assert template.room == 4
    sizes = set(template.sizes(SampleStreams(0, torch.arange(200)), 200))
    assert sizes == {(i, j) for i in range(1, 4) for j in range(1, 5 - i)}
    bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    a, b, c = tokenizer("abc", add_special_tokens=False)["input_ids"]
    for rows, clamp, _ in template.groups(torch.Generator().manual_seed(0), 50):
        assert clamp.shape == (len(rows), 9)
        held = [token for token in clamp[0].tolist() if token != FREE]
        assert held[:5] == [bos, a, b, c, eos]
        assert set(held[5:]) <= {pad}


def test_sequences_of_one_length_are_continued():
    template = read_template("a_", letter_tokenizer(), 5, {"special_tokens": False})
    ((_, clamp, allowed),) = template.groups(None, 1)
    assert clamp[0, 1:].tolist() == [FREE] * 4
    assert allowed[2:].all()


def test_each_kind_of_string_has_its_placeholder():
    words = word_tokenizer(["good book . bad book ."])
    good, book = (words.get_vocab()[word] for word in ("good", "book"))
    assert tokens_of("good [MASK] book", words, "a text") == [[good, FREE, book]]
    letters = character_tokenizer(["MKVG"])
    m, g = letters("MG", add_special_tokens=False)["input_ids"]
    assert tokens_of("M__G", letters, "a text") == [[m, FREE, FREE, g]]
    smiles = smiles_tokenizer(["CCO"])
    c, o = smiles("CO", add_special_tokens=False)["input_ids"]
    assert tokens_of("C[*]O[*:2]", smiles, "a text") == [[c], [o], []]
    attached = smiles_tokenizer(["C[*]"])
    assert tokens_of("C[*]", attached, "a text") == [attached("C[*]", add_special_tokens=False)["input_ids"]]
    underscores = character_tokenizer(["a_b"])
    assert FREE not in tokens_of("a_b", underscores, "a text")[0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("CCO", {}, r"Expected a free place in the text, .* got 'CCO'"),
        ("C[*]Zz", {}, r"Expected a text of tokens that the model knows, got 'Zz' in 'C\[\*\]Zz'"),
        ("C" * 10 + "_", {}, r"Expected a text that fits the model's 12 tokens, got 13"),
        ("C" * 9 + "[*]", {"gap": (4, 4)}, None),
        ("C" * 8 + "[*]C", {"gap": (2, 4)}, r"fits the model's 12 tokens, got 13"),
        ("C_", {"gap": (3, 2)}, r"0 <= smallest <= largest in `gap`, got \(3, 2\)"),
        ("C_", {"count": 0}, "Expected `count` >= 1, got 0"),
        ("C_", {"y": "high"}, "Expected `y` to be one of"),
    ],
)
def test_errors(checkpoint: Checkpoint, text: str, options: dict, message: str | None):
    if message is None:
        assert len(checkpoint.complete(text, **options)) == 1
        return
    with pytest.raises(ValueError, match=message):
        checkpoint.complete(text, **options)


def test_letters_without_a_token_for_unknown_ones():
    with pytest.raises(ValueError, match="Expected a text of tokens that the model knows, got 'É!'"):
        tokens_of("a_É!", letter_tokenizer(), "a text")
