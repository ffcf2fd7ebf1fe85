"""Uploads to the hub."""

from pathlib import Path

import pytest

from discrete_diffusion.checkpoints.transformers_export.upload import push_to_hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict]]:
    made: list[tuple[str, dict]] = []

    class Hub:
        def create_repo(self, name: str, **options: object) -> None:
            made.append(("create_repo", {"name": name, **options}))

        def upload_folder(self, **options: object) -> None:
            made.append(("upload_folder", options))

    monkeypatch.setattr("discrete_diffusion.checkpoints.transformers_export.upload.HfApi", Hub)
    return made


@pytest.mark.parametrize("private", [False, True])
def test_a_folder_is_uploaded(folder: Path, calls: list[tuple[str, dict]], private: bool):
    assert push_to_hub(folder, "owner/model", private=private) == "https://huggingface.co/owner/model"
    created, uploaded = calls
    assert created == ("create_repo", {"name": "owner/model", "private": private, "exist_ok": True})
    assert uploaded[0] == "upload_folder"
    assert uploaded[1]["repo_id"] == "owner/model"
    assert uploaded[1]["folder_path"] == folder


@pytest.mark.parametrize("name", ["model", "owner/", "a/b/c", "../owner/model", ""])
def test_a_name_that_the_hub_does_not_have(folder: Path, calls: list[tuple[str, dict]], name: str):
    with pytest.raises(ValueError, match="Expected the name of a model of the hub as OWNER/MODEL"):
        push_to_hub(folder, name)
    assert calls == []


def test_a_folder_without_a_model(tmp_path: Path, calls: list[tuple[str, dict]]):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        push_to_hub(tmp_path, "owner/model")
    assert calls == []


def test_trouble_is_one_line_that_says_what_is_safe(folder: Path, monkeypatch: pytest.MonkeyPatch):
    class Hub:
        def create_repo(self, name: str, **options: object) -> None:
            raise OSError("401 Client Error.\n\nRequest ID: 1")

    monkeypatch.setattr("discrete_diffusion.checkpoints.transformers_export.upload.HfApi", Hub)
    with pytest.raises(ConnectionError) as caught:
        push_to_hub(folder, "owner/model")
    assert str(caught.value) == (
        "owner/model was not uploaded (401 Client Error): check the network, and log in with `hf auth login`. "
        f"The folder {folder} is complete."
    )
