"""`uv run trainer export`: a trained model as a folder for transformers."""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path

from discrete_diffusion.commandline import report_errors
from discrete_diffusion.commandline.parser import OneLineParser


def main(arguments: Sequence[str]) -> None:
    """Run `trainer export` with the arguments of the command line."""
    given = _parser().parse_args(arguments)
    with report_errors("export"):
        _export(given)


def _parser() -> ArgumentParser:
    parser = OneLineParser(
        prog="trainer export",
        description="Write a folder that transformers loads with trust_remote_code=True, without any of our packages. "
        "`load` reads it too.",
    )
    parser.add_argument("run", metavar="RUN", help="run folder or checkpoint folder")
    parser.add_argument("destination", metavar="DST", type=Path, help="the folder to write")
    parser.add_argument(
        "--classifier",
        metavar="RUN",
        action="append",
        default=[],
        help="run folder of a classifier to include",
    )
    parser.add_argument("--license", help="license of the weights: an identifier of the hub, such as apache-2.0")
    parser.add_argument("--push-to-hub", metavar="NAME", help="upload it as OWNER/MODEL")
    parser.add_argument("--private", action="store_true", help="make the uploaded model private")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    return parser


def _export(given: Namespace) -> None:
    destination: Path = given.destination
    if given.private and not given.push_to_hub:
        raise ValueError("Expected `--push-to-hub NAME` beside `--private`.")
    # torch and transformers take seconds to import, and a typo should not wait for them.
    from discrete_diffusion.checkpoints import (
        expect_free,
        expect_hub_name,
        export,
        load,
        load_classifier,
        locate,
        model_card,
        push_to_hub,
    )
    from discrete_diffusion.trainer.run_results import read_results

    if given.push_to_hub:
        expect_hub_name(given.push_to_hub)
    expect_free(destination, locate(given.run), overwrite=given.overwrite)
    checkpoint = load(given.run)
    classifiers = [load_classifier(path) for path in given.classifier]
    for path, classifier in zip(given.classifier, classifiers, strict=True):
        try:
            classifier.matches(checkpoint)
        except ValueError as error:
            raise ValueError(f"{path} does not match this model. {error}") from error
    names = _names([classifier.kind for classifier in classifiers], taken=checkpoint.classifiers)
    checkpoint = checkpoint.with_classifiers(**dict(zip(names, classifiers, strict=True)))
    name = given.push_to_hub or destination.name
    card = model_card(checkpoint, name=name, license=given.license, results=read_results(locate(given.run)))
    export(checkpoint, destination, card=card)
    print(_closing(destination, name))
    if given.push_to_hub:
        print(f"Uploaded to {push_to_hub(destination, given.push_to_hub, private=given.private)}")


def _names(kinds: Sequence[str], taken: Container[str]) -> list[str]:
    """Return a name for each classifier: its kind, numbered if there are several.

    Raises:
        ValueError: If the model already has a classifier with the name.
    """
    count, seen, names = Counter(kinds), Counter[str](), []
    for kind in kinds:
        seen[kind] += 1
        name = f"{kind}_{seen[kind]}" if count[kind] > 1 else kind
        if name in taken:
            raise ValueError(f"The model has a classifier {name!r} already.")
        names.append(name)
    return names


def _closing(destination: Path, name: str) -> str:
    files = {
        "model.safetensors": "the weights",
        "config.json": "the architecture",
        "modeling_discrete_diffusion.py": "the model's code, with the other .py files",
        "classifiers": "the classifiers",
        "README.md": "the model card, with an example",
    }
    lines = [f"Everything is in {destination}"]
    lines += [f"  {name:32}{text}" for name, text in files.items() if (destination / name).exists()]
    example = (destination / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    loads = next(line for line in example.splitlines() if line.startswith("model = "))
    here = loads.replace(f'"{name}"', f'"{destination}"')
    return "\n".join([*lines, "", "Load it:", f"  {here}"])
