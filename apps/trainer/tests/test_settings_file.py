"""Settings of a run, and what a resumed run may change."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from discrete_diffusion.trainer.run_folder import run_of
from discrete_diffusion.trainer.saved_states import newest_whole


@pytest.fixture
def begun(run, tmp_path: Path) -> Path:
    run(tmp_path / "run", "steps=4", "validate_every=2", "preview.samples=0", "callbacks.checkpoints.save_top_k=-1")
    return tmp_path / "run"


def test_resuming_into_the_own_folder_keeps_data_and_settings(run, configure, begun: Path):
    before = (begun / "settings.yaml").read_text()
    weights = torch.load(begun / "checkpoints" / "step-000002.ckpt", weights_only=True)["state_dict"]
    run(begun, f"resume={begun}", "steps=6", small=False)
    assert (begun / "settings.yaml").read_text() == before
    last = torch.load(begun / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert last["state_dict"].keys() == weights.keys()
    assert not (begun / ".hydra").exists()
    rows = [(begun / name).read_text().splitlines() for name in ("metrics-1.csv", "metrics.csv")]
    assert all(len(lines) > 1 for lines in rows)


def test_a_run_resumed_twice_keeps_its_settings(run, begun: Path, tmp_path: Path):
    for name, steps in (("second", 6), ("third", 8)):
        run(tmp_path / name, f"resume={begun}", f"steps={steps}", "seed=1", small=False)
        begun = tmp_path / name
    settings = OmegaConf.load(begun / "settings.yaml")
    assert (settings.batch_size, settings.backbone.hidden_size, settings.steps) == (8, 16, 8)


def test_changes_are_listed_in_one_line(run, begun: Path, tmp_path: Path, capsys):
    run(tmp_path / "next", f"resume={begun}", "steps=5", "batch_size=8", "optimizer.adamw.lr=0.1", small=False)
    assert "Changed: steps 4 -> 5; optimizer.adamw.lr 0.003 -> 0.1.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "override",
    [
        "data.length=9",
        "backbone.hidden_size=32",
        "model.process._target_=x",
        "schedule.x=1",
        "tokenizer._target_=x",
        "+task.x=1",
    ],
)
def test_what_cannot_change_is_refused(run, begun: Path, tmp_path: Path, override: str):
    with pytest.raises(ValueError, match="a resumed run cannot change") as refused:
        run(tmp_path / "next", f"resume={begun}", override.replace("schedule.x", "+schedule.x"), small=False)
    assert "\n" not in str(refused.value)


def test_data_that_come_from_no_file_cannot_have_moved(run, begun: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"a resumed run cannot change `data\.path`"):
        run(tmp_path / "next", f"resume={begun}", "data.path=moved.csv", small=False)


@pytest.mark.parametrize("override", ["model=ar", "experiment=digits", "data=digits"])
def test_other_groups_are_refused(run, begun: Path, tmp_path: Path, override: str):
    with pytest.raises(ValueError, match="Expected plain values beside `resume`"):
        run(tmp_path / "next", f"resume={begun}", override, small=False)


def test_data_that_have_changed_are_refused(run, tmp_path: Path):
    table = tmp_path / "words.csv"
    rows = ["".join("ab"[i >> k & 1] for k in range(5)) for i in range(32)]
    table.write_text("word\n" + "\n".join(rows) + "\n")
    options = ["data=table", f"data.path={table}", "data.column=word", "preview.samples=0"]
    run(tmp_path / "run", *options)
    moved = table.rename(tmp_path / "moved.csv")
    resume = [f"resume={tmp_path / 'run'}", f"data.path={moved}", "steps=5"]
    run(tmp_path / "same", *resume, small=False)
    moved.write_text("word\n" + "\n".join(reversed(rows)) + "\n")
    with pytest.raises(ValueError, match="the data of the run that is resumed, but they have changed"):
        run(tmp_path / "other", *resume, small=False)


def test_a_run_of_an_older_version_is_resumed_from_where_it_has_its_settings(run, begun: Path):
    (begun / ".hydra").mkdir()
    settings = (begun / "settings.yaml").rename(begun / ".hydra" / "config.yaml").read_text()
    run(begun, f"resume={begun}", "steps=5", small=False)
    assert (begun / ".hydra" / "config.yaml").read_text() == settings
    assert OmegaConf.load(begun / "settings.yaml").steps == 4


def test_a_folder_of_another_run_is_refused(run, begun: Path):
    before = (begun / "settings.yaml").read_text()
    for options in ([], ["batch_size=4"]):
        with pytest.raises(ValueError, match="holds a run: resume it"):
            run(begun, *options)
    assert (begun / "settings.yaml").read_text() == before


def test_the_newest_whole_checkpoint_is_taken_and_the_torn_one_named(run, begun: Path, tmp_path: Path, capsys):
    last = begun / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    for torn in (content[: len(content) // 2], b"", content[:5000] + bytes(9) + content[5009:]):
        last.write_bytes(torn)
        for path in (begun, begun / "checkpoints", last):
            assert newest_whole(path) == (begun / "checkpoints" / "step-000004.ckpt", [last])
            assert run_of(path).resolve() == begun
    (begun / "checkpoints" / "step-000004.ckpt").unlink()
    run(tmp_path / "next", f"resume={begun}", small=False)
    line = f"Resuming {begun}/checkpoints/step-000002.ckpt. Torn, and not used: {last}.\n"
    assert line in capsys.readouterr().out
    (begun / "checkpoints" / "step-000002.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Nothing to resume in .*: .*last\.ckpt, .*step-000002\.ckpt cannot be read"):
        newest_whole(begun)


def test_whole_checkpoints_are_ordered_by_their_steps(begun: Path):
    (begun / "checkpoints" / "step-000002.ckpt").touch()
    assert newest_whole(begun).path.name == "last.ckpt"
    (begun / "checkpoints" / "last.ckpt").unlink()
    assert newest_whole(begun).path.name == "step-000004.ckpt"
