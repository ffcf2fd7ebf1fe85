"""Model cards."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.guidance import ClassifierFree
from discrete_diffusion.processes import Marginal, Process, Uniform

KINDS = {"molecules": "molecules", "dna": "DNA", "text": "text", "images": "images", "strings": "strings"}
MEASURED = ("valid", "distinct", "unique", "novel", "accuracy", "network_evaluations", "seconds")
GAMMA, SHOWN, CLASSES = 2.0, 4, 12


@dataclass(frozen=True)
class RunResults:
    """Measurements of a model, for its card.

    Attributes:
        validation: Last validation of the training run, in nats per sequence, by name.
        likelihood: Likelihood of validation data, by name.
        results: One row for each guidance method and scale that was evaluated.
        property: Property of the samples that the rows report.
    """

    validation: Mapping[str, float] = field(default_factory=dict)
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Mapping[str, Any], ...] = ()
    property: str = ""


def model_card(
    checkpoint: Checkpoint,
    *,
    name: str,
    license: str | None = None,
    results: RunResults | None = None,
) -> str:
    """Return the text of README.md, preceded by the fields that the Hugging Face hub reads.

    It describes the checkpoint and shows samples that are drawn from seed 0, with the guidance of its code example.

    Args:
        checkpoint: The checkpoint to describe.
        name: Name under which the folder is loaded: its path, or OWNER/MODEL on the hub.
        license: License of the weights, an identifier of the hub such as "apache-2.0"; by default unknown.
        results: Measurements to report.
    """
    process = checkpoint.process
    results = RunResults() if results is None else results
    kind = checkpoint.config["data"].get("kind", "strings")
    classes = () if checkpoint.label is None else checkpoint.label.class_names
    own = not checkpoint.config["backbone"]["_target_"].startswith("discrete_diffusion.backbones.HuggingFace")
    auto = "AutoModelForCausalLM" if process is None else "AutoModelForMaskedLM"
    tag = "autoregressive" if process is None else f"{type(process).__name__.lower()}-diffusion"
    shown = _samples(checkpoint) if kind != "images" else []
    page = (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            name=name,
            license=license or "unknown",
            pipeline_tag=_task(kind, process),
            tags=["discrete-diffusion", tag, kind, *(["classifier-free-guidance"] if classes else [])],
            summary=_summary(checkpoint, process, kind),
            code=_code(checkpoint, name, auto, own),
            own=own,
            architecture=type(getattr(checkpoint.network, "model", checkpoint.network)).__name__,
            diffusion=process is not None,
            classes=_named(classes),
            model=list(_model_rows(checkpoint, process)),
            data=list(_data_rows(checkpoint, kind)),
            validation=", ".join(
                f"{key.removeprefix('val/')} {value:.4g}" for key, value in results.validation.items()
            ),
            likelihood=[(key.replace("_", " "), _number(value)) for key, value in results.likelihood.items()],
            results=_table(results),
            classifiers=[(key, _classifier(one)) for key, one in checkpoint.classifiers.items()] if own else [],
            origin=f"From seed 0{f', class {classes[-1]}, gamma {GAMMA:g}' if classes else ''}",
            samples=[repr(one)[1:-1] for one in shown],
            limits=_limits(kind, checkpoint.length),
            licence_text=_licence(license, own),
            versions=", ".join(
                f"{one} {version(one)}" for one in ("discrete-diffusion-checkpoints", "torch", "transformers")
            ),
        )
    )
    return page.rstrip("\n") + "\n"


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _task(kind: str, process: Process | None) -> str:
    if kind == "images":
        return "unconditional-image-generation"
    return "fill-mask" if type(process).__name__ == "Absorbing" else "text-generation"


def _summary(checkpoint: Checkpoint, process: Process | None, kind: str) -> str:
    size = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    what = "A left-to-right model" if process is None else "A discrete diffusion model"
    labels = "" if checkpoint.label is None else f", conditional on {len(checkpoint.label.class_names)} classes"
    return f"{what} of {KINDS.get(kind, kind)}, {checkpoint.length} tokens each, with {size:,} parameters{labels}."


def _code(checkpoint: Checkpoint, name: str, auto: str, own: bool) -> str:
    """Return the code example, at most ten lines."""
    code_beside = own or "name_or_path" in checkpoint.config["backbone"]
    trust = ", trust_remote_code=True" if code_beside else ""
    lines = [
        "import torch",
        f"from transformers import {auto}, AutoTokenizer",
        "",
        f"model = {auto}.from_pretrained({json.dumps(name)}{trust})",
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(name)}{trust})",
    ]
    if not own:
        return "\n".join(lines[1:2] + lines[2:])
    classes = 0 if checkpoint.label is None else checkpoint.label.num_classes
    steered = f"y={classes - 1}, gamma={GAMMA}, " if classes else ""
    lines.append(f"ids = model.sample({SHOWN}, {steered}generator=torch.Generator().manual_seed(0))")
    image = checkpoint.config["data"].get("image")
    if image is not None:
        shape = ", ".join(str(image[side]) for side in ("height", "width", "channels"))
        return "\n".join([*lines, f"images = ids.unflatten(1, ({shape}))"])
    eos, bos = checkpoint.tokenizer.eos_token, checkpoint.tokenizer.bos_token
    ended = "" if eos is None else f".partition({json.dumps(eos)})[0]"
    begun = "" if bos is None else f".removeprefix({json.dumps(bos)})"
    return "\n".join([*lines, f"print([tokenizer.decode(row){ended}{begun}.strip() for row in ids])"])


def _named(classes: tuple[str, ...]) -> str:
    names = [f"{index} ({name})" for index, name in enumerate(classes[:CLASSES])]
    if len(classes) > CLASSES:
        names.append(f"and so on to {len(classes) - 1} ({classes[-1]})")
    return f'{", ".join(names)}; {len(classes)} is "no condition"' if classes else ""


def _samples(checkpoint: Checkpoint) -> list[str]:
    generator = torch.Generator().manual_seed(0)
    if checkpoint.label is None:
        return checkpoint.decode(checkpoint.sample(SHOWN, generator=generator))
    classes = checkpoint.label.num_classes
    guided = partial(ClassifierFree, gamma=GAMMA, null_label=classes)
    return checkpoint.decode(checkpoint.sample(SHOWN, y=classes - 1, on_kernel=[guided], generator=generator))


def _model_rows(checkpoint: Checkpoint, process: Process | None) -> Iterator[tuple[str, str]]:
    if process is None:
        yield "order", "from left to right"
    else:
        yield "process", f"`{type(process).__name__}`, {_noise(process)}"
        yield "schedule", f"`{process.schedule!r}`"
        if isinstance(process, Marginal | Uniform):
            yield "parameterization", f"`{process.parameterization!r}`"
    backbone = {key: value for key, value in checkpoint.config["backbone"].items() if key != "config"}
    target = backbone.pop("_target_").rpartition(".")[2]
    yield "network", f"`{target}({', '.join(f'{key}={value!r}' for key, value in backbone.items())})`"
    yield "parameters", f"{sum(parameter.numel() for parameter in checkpoint.network.parameters()):,}"
    if steps := checkpoint.config["model"]["sampler"].get("steps"):
        yield "steps of sampling", f"{steps} by default"


def _noise(process: Process) -> str:
    names = {
        "Absorbing": "masks (MDLM, arXiv 2406.07524)",
        "Uniform": "uniform noise (UDLM, arXiv 2412.10193)",
        "Marginal": "noise drawn from the data's token frequencies (DiGress, arXiv 2209.14734)",
    }
    return names.get(type(process).__name__, "noise of another distribution")


def _data_rows(checkpoint: Checkpoint, kind: str) -> Iterator[tuple[str, str]]:
    settings = checkpoint.config["data"]
    yield "kind", kind
    rows = settings.get("rows") or {}
    if "_target_" in rows:
        yield "source", f"`{rows['_target_'].rpartition('.')[2]}`"
    if rows.get("path"):
        yield "file", f"`{PurePath(str(rows['path'])).name}`"
    if "column" in settings:
        yield "column", f"`{settings['column']}`"
    yield "length", f"{checkpoint.length} tokens of {len(checkpoint.tokenizer):,}"
    if checkpoint.label is not None:
        yield "labels", f"of `{checkpoint.label.column}`: {', '.join(checkpoint.label.class_names)}"


def _table(results: RunResults) -> list[list[str]]:
    """Return headings, and a row for each guidance and scale; empty columns are left out."""
    prop = "novel_property_mean"
    measured = [name for name in (*MEASURED, prop) if any(row.get(name) is not None for row in results.results)]
    if not results.results:
        return []
    heads = ["guidance", "γ", "condition", "samples"]
    heads += [f"mean {results.property} of novel" if name == prop else name.replace("_", " ") for name in measured]
    rows = [
        [str(row.get("guidance", "")), _number(row.get("gamma")), str(row.get("condition", ""))]
        + [_number(row.get(name)) for name in ("generated", *measured)]
        for row in results.results
    ]
    return [heads, *([_cell(one) for one in row] for row in rows)]


def _classifier(one: Any) -> str:
    if one.label is None:
        return f"{one.kind}; a regressor of {one.config['quantity']['column']}"
    return f"{one.kind}; {', '.join(one.label.class_names)}"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 10 else f"{value:.4g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _limits(kind: str, length: int) -> str:
    return (
        f"The model draws {KINDS.get(kind, kind)} of {length} tokens that resemble its training data. Its samples are "
        "not checked: guidance makes the requested class more likely, not certain."
    )


def _licence(license: str | None, own: bool) -> str:
    code = " The Python files in this folder are under Apache-2.0." if own else ""
    given = f"The weights are under {license}." if license else "The licence of the weights is not stated."
    return given + code
