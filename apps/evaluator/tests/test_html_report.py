"""HTML report: content, a single file, and its script in a browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import nn

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import character_tokenizer, smiles_tokenizer
from discrete_diffusion.datasets.pixel_tokenizer import pixel_tokenizer
from discrete_diffusion.eval import molecule_image
from discrete_diffusion.evaluator.domains.domain import Outcome, Run, described, domain_class
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.html_report import write_report
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.record import Record
from discrete_diffusion.evaluator.report_numbers import cost_table, likelihood_parts, number, sweep_table
from discrete_diffusion.evaluator.report_samples import colored, shown_samples
from discrete_diffusion.guidance import State

EVIL = "<script>document.title='evil'</script><img src=x onerror=alert(1)>&\"'"
STRINGS = {
    "molecules": ["CCO", "c1ccccc1", "CC(=O", "N#CC", "OC1CC1F"],
    "dna": ["ACGTTGCA" * 20, "GGGTTTNNACGT", "ACGT"],
    "text": ["the movie was 10 times too long.", "i liked it", "never again !"],
    "images": [" ".join(str((row + shift) % 5) for row in range(16)) for shift in range(5)],
    "strings": ["abc", "de f"],
}


def gray(string: str, size: tuple[int, int]) -> Image.Image | None:
    try:
        values = [int(word) for word in string.split()]
    except ValueError:
        return None
    return (
        Image.frombytes("L", (4, 4), bytes(60 * one for one in values)).resize(size, 0) if len(values) == 16 else None
    )


def tokenizer_of(kind: str) -> Any:
    if kind == "molecules":
        return smiles_tokenizer(STRINGS[kind])
    if kind == "images":
        made = pixel_tokenizer(5)
        made.add_special_tokens({"mask_token": "<mask>"})
        return made
    return character_tokenizer(STRINGS[kind])


class Made:
    """A run of a kind that somebody evaluated, without a network."""

    def __init__(
        self,
        directory: Path,
        kind: str = "molecules",
        *,
        gammas: Sequence[float] = (0.0, 2.0),
        samples: int = 30,
        strings: Sequence[str] | None = None,
        causal: bool = False,
        length: int = 16,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        strings = STRINGS[kind] if strings is None else strings
        self.directory = directory
        self.domain: Any = SimpleNamespace(
            noun=kind,
            layout=domain_class(kind).layout,
            pictures=domain_class(kind).pictures,
            property=len,
            property_name="my_property",
            shown={"distinct": "distinct", "novel": "novel"},
            training=described([1.0, 2.0, 4.0]),
            illustrate={"molecules": molecule_image, "images": gray}.get(kind),
        )
        facts = {
            "checkpoint": "outputs/run/checkpoint",
            "command": f"evaluator 'prompt={EVIL}'",
            "versions": {"python": "3.11", "rdkit": None},
            "configuration": {"samples": samples, "prompt": EVIL},
            "started": "2026-01-01T00:00:00",
        }
        self.record = Record(directory, facts, self.domain)
        self.record.note(
            likelihood={
                "sequences": 200,
                "tokens": 4000,
                "nats_per_sequence": 24.0,
                "nats_per_sequence_error": 0.51,
                "bits_per_token": 1.73,
                "bits_per_token_error": 0.04,
                "perplexity": 3.3,
                "perplexity_error": None,
                "prior_nats_per_sequence": 0.0,
                "diffusion_nats_per_sequence": 18.0,
                "reconstruction_nats_per_sequence": 6.0,
            }
        )
        self.conditions = [Point("D-CFG", gamma, "long" if gamma else "unconditional", samples, 1) for gamma in gammas]
        for seed in (1, 2):
            for at, condition in enumerate(self.conditions):
                drawn = [strings[(index + seed + at) % len(strings)] for index in range(samples)]
                values = [float(len(one) + seed) for one in drawn]
                rows = [
                    {"string": one, "valid": index % 3 != 2, "novel": index % 2 == 0, "property": value}
                    for index, (one, value) in enumerate(zip(drawn, values, strict=True))
                ]
                numbers: dict[str, Any] = {"generated": samples, "distinct": len(strings), "novel": 3 + seed}
                numbers |= {f"novel_property_{key}": value for key, value in described(values).items()}
                numbers |= extra or {}
                cost = {"network_evaluations": 10 * samples, "classifier_rows": 0, "seconds": 0.5 * (1 + at)}
                cost |= {"reward_calls": 0, "mean_ess_share": None, "resampled_share": None}
                self.record.add(Run(condition, seed, Outcome(numbers, rows, drawn[:3], values[:3])), cost)
        tokenizer = tokenizer_of(kind)
        config = {
            "model": {"causal": causal, "process": {"_target_": "discrete_diffusion.processes.Uniform"}},
            "data": {"kind": kind, "image": {"height": 4, "width": 4, "channels": 1}},
            "length": length,
        }
        self.checkpoint = Checkpoint(config, nn.Linear(2, 2), tokenizer, None)
        generator = torch.Generator().manual_seed(0)
        known = [index for index in range(len(tokenizer)) if index not in tokenizer.all_special_ids]
        x = torch.tensor(known)[torch.randint(len(known), (3, length), generator=generator)]
        if kind == "images":
            x[0] = tokenizer.mask_token_id
        self.states = [State(1.0, x)]
        for step in range(1, length + 1):
            x = x.clone()
            x[:, step - 1] = known[step % 3]
            self.states.append(State(1 - step / length, x))

    def write(self, **overrides: Any) -> str:
        path = write_report(
            self.directory,
            record=self.record,
            domain=self.domain,
            checkpoint=self.checkpoint,
            states={self.conditions[-1]: self.states},
            chosen=self.conditions[-1],
            **overrides,
        )
        assert path == self.directory / "report.html"
        return path.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts.append(data)


def data_of(text: str) -> dict[str, Any]:
    return json.loads(Tags(text).scripts[0])


@pytest.mark.parametrize("kind", list(STRINGS))
def test_every_kind_has_its_samples_its_states_and_nothing_from_elsewhere(kind: str, tmp_path: Path):
    made = Made(tmp_path, kind)
    Image.new("RGB", (40, 30), "white").save(tmp_path / "frontier.png")
    text = made.write()
    tags = Tags(text).tags
    for tag, attributes in tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
    assert "url(" not in text
    assert "@import" not in text
    assert [one["alt"] for tag, one in tags if tag == "img"] == [
        f"How many novel {kind} each strength of guidance leaves, and their mean my property."
    ]
    data = data_of(text)
    assert [one["gamma"] for one in data["conditions"]] == ["0", "2"]
    for condition in data["conditions"]:
        assert len(condition["samples"]) == 24
        assert condition["total"] == 30
    shown = ["".join(run[1] for run in one["text"]) for one in data["conditions"][0]["samples"]]
    strings = [row["string"] for row in made.record.runs[0].outcome.samples[:24]]
    assert shown == ([""] * 24 if kind == "images" else strings)
    pictures = [one.get("picture") for one in data["conditions"][0]["samples"]]
    if kind == "molecules":
        assert [one is not None for one in pictures] == [one != "CC(=O" for one in strings]
    else:
        assert all((one is not None) == (kind == "images") for one in pictures)
    assert [one["novel"] for one in data["conditions"][0]["samples"][:3]] == [True, False, True]


def test_the_states_are_those_that_were_sampled(tmp_path: Path):
    made = Made(tmp_path, "text")
    path = data_of(made.write())["trajectory"]
    assert path["times"][0] == 1.0
    assert path["times"][-1] == 0.0
    tokenizer = made.checkpoint.tokenizer
    for sample, frames in enumerate(path["frames"]):
        for step, frame in zip(path["steps"], frames, strict=True):
            written = [path["tokens"][token].replace("␣", " ") for token in frame]
            assert written == tokenizer.convert_ids_to_tokens(made.states[step].x[sample].tolist())


def test_long_trajectories_are_thinned_and_cut(tmp_path: Path):
    made = Made(tmp_path, "text", length=1500)
    path = data_of(made.write())["trajectory"]
    assert len(path["times"]) == 33
    assert (path["steps"][0], path["steps"][-1]) == (0, 1500)
    assert len(path["frames"][0][0]) == 1024
    assert path["left_out"] == 476


def test_a_left_to_right_model_says_how_far_it_is(tmp_path: Path):
    path = data_of(Made(tmp_path, "molecules", causal=True, length=8).write())["trajectory"]
    assert path["drawn"] == list(range(9))
    # Nothing is drawn at first, so there is nothing to draw.
    assert path["seen"][0][0] is None
    assert data_of(Made(tmp_path, "molecules", length=8).write())["trajectory"]["drawn"] is None


def test_states_of_images_are_drawn_although_they_hold_masks(tmp_path: Path):
    path = data_of(Made(tmp_path, "images").write())["trajectory"]
    assert None not in path["seen"][0]
    assert path["seen"][0][0] != path["seen"][0][-1]
    assert path["frames"][0][0] == []


def test_what_came_from_outside_stays_text(tmp_path: Path):
    text = Made(tmp_path, "strings", strings=[EVIL, "plain"]).write()
    tags = Tags(text)
    assert len(tags.scripts) == 2
    assert [tag for tag, _ in tags.tags].count("img") == 0
    samples = data_of(text)["conditions"][0]["samples"]
    assert EVIL in ["".join(run[1] for run in one["text"]) for one in samples]
    assert "onerror=alert" not in re.sub(r"(?s)<script.*?</script>", "", text).replace(
        "&lt;img src=x onerror=alert", ""
    )


@pytest.mark.parametrize(
    ("by_property", "accuracy", "tiles"),
    [
        (True, None, ["bits per token", "novel text of 30", "mean my property of novel text", "samples in all"]),
        (False, None, ["bits per token", "novel text of 30", "samples in all"]),
        (
            False,
            0.75,
            ["bits per token", "novel text of 30", "text of the requested class, by the judge", "samples in all"],
        ),
    ],
)
def test_main_numbers_are_about_what_was_requested(
    by_property: bool, accuracy: float | None, tiles: list[str], tmp_path: Path
):
    text = Made(tmp_path, "text", extra={"accuracy": accuracy}).write(by_property=by_property)
    (found,) = re.findall(r'(?s)<dl class="tiles">(.*?)</dl>', text)
    assert re.findall("<dt>(.*?)</dt>", found) == tiles


def test_legends_hold_the_kinds_that_occur(tmp_path: Path):
    for strings, kinds in ((["ab", "c"], ["word"]), (["a 1", "b<pad>."], ["word", "number", "mark", "special"])):
        text = Made(tmp_path, "text", strings=strings).write()
        (legend,) = re.findall(r'(?s)<section id="samples">.*?<ul class="legend">(.*?)</ul>', text)
        assert re.findall('<span class="(.*?)">', legend) == kinds


def test_paths_and_commands_break_after_a_slash(tmp_path: Path):
    assert '<p class="path">outputs/<wbr>run/<wbr>checkpoint</p>' in Made(tmp_path, "text").write()


def test_it_stays_small(tmp_path: Path):
    made = Made(tmp_path, gammas=[float(one) for one in range(15)], samples=64)
    noise = torch.randint(256, (900, 1400, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray((noise // 64 * 64).numpy()).save(tmp_path / "frontier.png")
    assert len(made.write()) < 5_000_000
    (tmp_path / "frontier.png").unlink()
    assert len(Made(tmp_path, "dna", strings=["ACGT" * 8192]).write()) < 1_000_000


def test_without_pictures_samples_are_strings(tmp_path: Path):
    made = Made(tmp_path)
    made.states = []
    text = made.write(draw=False)
    data = data_of(text)
    assert data["trajectory"] is None
    assert all("picture" not in one for one in data["conditions"][0]["samples"])
    assert 'id="trajectory"' not in text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (None, None, "–"),
        (3.0, None, "3"),
        (12345.0, 0.0, "12,345"),
        (0.61234, 0.0123, "0.612"),
        (812.4, 13.2, "812"),
        (0.123456, None, "0.1235"),
        (1234.5678, None, "1,235"),
        (0.00001234, None, "1.23e-05"),
        ("inf", None, "∞"),
        (-2.0, None, "-2"),
        (8705795352378.5, 135857474865759.5, "8.71e+12"),
        (1.607e71, 2.76e70, "1.61e+71"),
        (18_000_000, None, "18,000,000"),
    ],
)
def test_numbers_are_written_as_one_reads_them(value: Any, half: float | None, text: str):
    assert number(value, half) == text


def test_tables_hold_the_means_and_what_belongs_to_the_domain(tmp_path: Path):
    made = Made(tmp_path, extra={"generative_perplexity": 31.5, "novel_fraction": 0.1, "nothing": None})
    results = json.loads((tmp_path / "summary.json").read_text())["results"]
    training = {"property": "my_property", **made.domain.training}
    table = sweep_table(results, training, made.domain.shown)
    assert list(table.headings) == [
        *("γ", "condition", "samples", "distinct", "novel", "mean my property of novel", "median"),
        "generative perplexity",
    ]
    novel = table.rows[0][list(table.headings).index("novel")]
    # Of 4 and 5: the half-width is 12.7062 · √½ / √2 = 6.353.
    assert (novel.text, novel.interval) == ("4.5", "6.4")
    assert table.last[0].text == "training data"
    # What only a later condition has is a column too.
    later = sweep_table([results[0], {**results[1], "accuracy": 0.5}], training, made.domain.shown)
    assert [row[-1].text for row in later.rows] == ["–", "0.5"]
    cost = cost_table(results)
    assert "classifier rows" not in cost.headings
    assert [row[-1].text for row in cost.rows] == ["16.67", "33.33"]
    assert [row[list(cost.headings).index("seconds")].share for row in cost.rows] == [0.5, 1.0]


def test_the_parts_of_the_likelihood_have_their_shares():
    row = {"sequences": 2, "tokens": 8, "nats_per_sequence": 8.0, "bits_per_token": 1.0, "perplexity": 2.0}
    row |= {f"{key}_error": 0.5 for key in ("nats_per_sequence", "bits_per_token", "perplexity")}
    parts = likelihood_parts(row | {"prior_nats_per_sequence": 2.0, "diffusion_nats_per_sequence": 6.0})
    assert [one["share"] for one in parts["parts"]] == [0.25, 0.75]
    # A part below zero has no share, and one that is infinite none either.
    for odd in (-1.0, "inf"):
        parts = likelihood_parts(row | {"prior_nats_per_sequence": odd, "diffusion_nats_per_sequence": 9.0})
        assert not parts["drawable"]


def test_each_sample_says_which_class_it_was_to_be_of(tmp_path: Path):
    made = Made(tmp_path)
    label = SimpleNamespace(class_names=("short", "long"))
    runs = [replace(run, condition=replace(run.condition, each=2)) for run in made.record.runs]
    (first, _) = shown_samples(runs, replace(made.checkpoint, label=label), ReportLayout(), None)
    assert [one["notes"] for one in first["samples"][:3]] == [
        [["requested class", name]] for name in ("short", "long", "short")
    ]


def test_text_is_split_by_kind():
    letters = character_tokenizer(["the 10 films."])
    assert colored("the 10<pad> films.", letters, ReportLayout()) == [
        ["word", "the "],
        ["number", "10"],
        ["special", "<pad>"],
        ["word", " films"],
        ["mark", "."],
    ]
    assert colored("AC<pad>", letters, domain_class("dna").layout) == [["plain", "AC"], ["special", "<pad>"]]


def test_an_evaluation_writes_its_report(
    configured: Callable[..., DictConfig], checkpoint: Callable[[str], Path], tmp_path: Path
):
    out = tmp_path / "out"
    quick = ["gammas=[0,2]", "sampling.steps=4", "pictures.draw=true", "seeds=[1]"]
    evaluate(configured(f"checkpoint={checkpoint('mdlm')}", f"output={out}", *quick))
    text = (out / "report.html").read_text(encoding="utf-8")
    images = [one["alt"] for tag, one in Tags(text).tags if tag == "img"]
    assert len(images) == len(list(out.glob("*.png")))
    data = data_of(text)
    assert data["trajectory"]["times"] == [1.0, 0.75, 0.5, 0.25, 0.0]
    # Of an absorbing process every token is the mask at first.
    kinds = {data["trajectory"]["kinds"][token] for token in data["trajectory"]["frames"][0][0]}
    assert kinds == {"mask"}


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def dom(page: Path, home: Path) -> str:
    """The page as a browser has it after its scripts ran."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}", "--dump-dom"]
    done = subprocess.run([*map(str, command), page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("kind", ["molecules", "strings"])
def test_it_works_in_a_browser(kind: str, tmp_path: Path):
    causal = kind == "strings"
    made = Made(tmp_path, kind, strings=[EVIL, "plain"] if causal else None, causal=causal)
    text = made.write()
    open_page = partial(dom, home=tmp_path / "home")
    page = open_page(tmp_path / "report.html")
    assert 'data-ready="true"' in page
    assert "data-error" not in page
    assert 'data-step="16"' in page
    assert 'data-condition="1"' in page
    assert page.count('<article class="sample') == 24
    assert "<title>evil" not in page

    act = """<script>
    document.getElementById("step").value = 3;
    document.getElementById("step").dispatchEvent(new Event("input"));
    document.querySelector("#gamma button").click();
    const heading = document.querySelector("table.sortable thead button");
    heading.click(); heading.click();
    </script></body>"""
    (tmp_path / "acted.html").write_text(text.replace("</body>", act), encoding="utf-8")
    acted = open_page(tmp_path / "acted.html")
    assert 'data-ready="true"' in acted
    assert "data-error" not in acted
    assert 'data-step="3"' in acted
    assert "step 3 of 16, t = 0.81" in acted
    frames = data_of(text)["trajectory"]["frames"]
    changed = 3 if causal else sum(now != then for rows in frames for now, then in zip(rows[3], rows[2], strict=True))
    assert acted.count('<span class="token mask">·</span>') == 3 * 13 * causal + causal  # one in the legend
    assert len(re.findall('<span class="token [a-zA-Z-]* changed" title', acted)) == changed > 0
    assert 'data-condition="0"' in acted
    assert 'aria-sort="descending"' in acted
    assert re.findall(r'<tr>\s*<td data-order="([0-9.]+)"', acted)[:2] == ["2.0", "0.0"]
