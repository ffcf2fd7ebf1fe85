"""Data sets of the hub with and without a network."""

import datasets
import pytest
from huggingface_hub import constants

from discrete_diffusion.datasets import hub


@pytest.mark.parametrize("answers", [True, False])
def test_without_an_answer_the_caches_alone_are_read(answers: bool, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def load(name: str) -> str:
        seen.append((name, constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
        return "rows"

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "_answers", lambda: answers)
    assert hub.from_hub("owner/name", "a file") == "rows"
    assert seen == [("owner/name", not answers, not answers)]
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


def test_an_unreachable_hub_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch):
    """The hub of this test is a port where nothing listens."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        hub.UnreachableDataError, match=r"`owner/name` cannot be read .*: pass a file as `path`\.$"
    ) as info:
        hub.from_hub("owner/name", "a file")
    assert "\n" not in str(info.value)
    assert not constants.HF_HUB_OFFLINE
