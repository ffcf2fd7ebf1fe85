#!/usr/bin/env python3
"""Run the notebooks of docs/notebooks/ in an empty folder, each with the working tree's packages.

uv run --group notebooks scripts/notebooks.py                 fail if a cell fails
uv run --group notebooks scripts/notebooks.py --write text    keep the outputs of this one in its file
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
TIMEOUT = 1200
"""Seconds after which a cell is stopped."""


def main() -> None:
    """Run the notebooks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of notebooks; all by default")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the files")
    options = parser.parse_args()
    # Cells that start with `!` find the commands of this environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    paths = [FOLDER / f"{name}.ipynb" for name in options.names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        start, notebook = time.monotonic(), nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            client = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": folder}})
            client.execute()
        if options.write:
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
                if "outputs" in cell:
                    cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
