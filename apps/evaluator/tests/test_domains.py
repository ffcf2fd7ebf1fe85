"""Domains: what the evaluator knows of a kind of data before it reads any."""

import pytest

from discrete_diffusion.evaluator.domains.domain import Domain, Outcome, domain_class


@pytest.mark.parametrize(
    ("kind", "style", "unit"),
    [
        ("molecules", "drawn", "token"),
        ("selfies", "drawn", "token"),
        ("dna", "dna", "token"),
        ("proteins", "text", "token"),
        ("text", "text", "character"),
        ("images", "images", "dimension"),
        ("strings", "text", "token"),
        ("music", "text", "token"),  # a kind without a domain
    ],
)
def test_style_and_unit(kind: str, style: str, unit: str):
    domain = domain_class(kind)
    assert Domain in domain.__mro__
    assert (domain is Domain) == (kind == "music")
    assert (domain.layout.style, domain.unit) == (style, unit)


@pytest.mark.parametrize(
    ("kind", "string", "form"),
    [
        ("molecules", "OCC", "CCO"),
        ("molecules", "C1CC", None),
        ("selfies", "[O][C][C]", "CCO"),
        ("selfies", "[O]<mask>[C]", None),
        ("dna", "ACGN", "ACGN"),
        ("dna", "ACGU", None),
        ("proteins", "MKX", "MKX"),
        ("proteins", "MK1", None),
        ("text", "anything", "anything"),
        ("strings", "anything", "anything"),
    ],
)
def test_valid_form(kind: str, string: str, form: str | None):
    domain = domain_class(kind)
    assert domain.valid_form(string) == form
    assert domain.checks_validity == (kind not in ("text", "strings"))


def test_outcome_counts_repeats_and_invalid_samples():
    outcome = Outcome.of(["a", "b", "a", "!"], {"a": 1.0, "b": 3.0}, ["b"], {"extra": 7}, {"near": {"a": 0.5}})
    numbers = outcome.numbers
    assert [numbers[name] for name in ("generated", "valid", "distinct", "novel")] == [4, 3, 2, 1]
    assert (numbers["valid_fraction"], numbers["extra"]) == (0.75, 7)
    assert numbers["valid_property_mean"] == pytest.approx(5 / 3)
    assert numbers["novel_property_mean"] == 3.0
    assert outcome.samples[0] == {"string": "a", "valid": True, "novel": False, "property": 1.0, "near": 0.5}
    assert outcome.samples[3] == {"string": "!", "valid": False, "novel": False, "property": None, "near": None}
    assert (outcome.novel, outcome.values) == (["b"], [3.0])
