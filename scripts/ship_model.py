#!/usr/bin/env python3
"""Turn a run into a model of packages/models.

    uv run scripts/ship_model.py RUN NAME [--classifier KIND=RUN ...] [--psi PSI]

The weights are rounded to half precision. Statistics of the training molecules, hashes and quantiles, take the place of
the data's path, so that the model can be evaluated without its data. The card README.md is written by hand.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from discrete_diffusion import models
from discrete_diffusion.checkpoints import load, load_classifier
from discrete_diffusion.evaluator.carried_data import FILE
from discrete_diffusion.evaluator.domains.molecules import known_molecules


def main() -> None:
    """Write the folder of the model; its card stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run of the generator")
    parser.add_argument("name", help="name of the model")
    parser.add_argument("--classifier", action="append", default=[], metavar="KIND=RUN", help="run of a classifier")
    parser.add_argument("--psi", type=float, help="sample by `PredictorCorrector` with this weight, not by `Ancestral`")
    options = parser.parse_args()

    checkpoint = load(options.run)
    known = known_molecules(checkpoint.data())
    classifiers = dict(one.split("=", 1) for one in options.classifier)
    checkpoint = checkpoint.with_classifiers(**{kind: load_classifier(run) for kind, run in classifiers.items()})
    for one in (checkpoint, *checkpoint.classifiers.values()):
        one.network.half()
    data = dict(checkpoint.config["data"])
    data.pop("path")
    data["rows"] = {**data["rows"], "path": None}
    model = dict(checkpoint.config["model"])
    if options.psi is not None:
        lift = {"_target_": "discrete_diffusion.processes.PredictorCorrector", "_partial_": True, "psi": options.psi}
        model["sampler"] = {**model["sampler"], "lift": {**lift, "process": model["process"]}}

    folder = models.ROOT / options.name
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else None
    replace(checkpoint, config={**checkpoint.config, "data": data, "model": model}).save(folder)
    known.save(folder / FILE)
    if text is not None:
        card.write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
