# Everyday tasks: `uv run just` lists them, `uv run just test` runs one.

_list:
    @just --list --unsorted

# The whole suite, without what is marked slow
test *ARGS:
    uv run pytest {{ARGS}}

# What is marked slow: tests that train or sweep
slow *ARGS:
    uv run pytest -m slow {{ARGS}}

# The whole suite with the lines that it missed
coverage *ARGS:
    uv run pytest --cov --cov-report=term-missing:skip-covered {{ARGS}}

# Style, spelling, and the pins against uv.lock
lint:
    uv run ruff check
    uv run ruff format --check
    uv run codespell
    scripts/pin.py --check

# Known vulnerabilities of the pinned versions, from osv.dev (needs the network)
audit *ARGS:
    uv audit --preview-features audit-command {{ARGS}}

# Put the style right
format:
    uv run ruff check --fix
    uv run ruff format

# Static types of every member
types:
    uv run mypy

# Who may import whom
boundaries:
    uv run lint-imports

# One member's wheel in an empty environment: its example, then its tests; `--wheels DIST` takes those of a folder
alone PACKAGE *ARGS:
    uv run scripts/alone.py {{PACKAGE}} {{ARGS}}

# The same with the lowest versions that the member allows (a fresh torch: gigabytes)
lowest PACKAGE *ARGS:
    uv run scripts/alone.py {{PACKAGE}} --lowest {{ARGS}}

# Every member's wheel and source distribution
build OUT="dist":
    uv build --all-packages --no-sources --out-dir {{OUT}}

# Run the notebooks of docs/notebooks; `--write` keeps their outputs
notebooks *ARGS:
    uv run --group notebooks scripts/notebooks.py {{ARGS}}

# The site, from docs/ and the docstrings
docs OUT="site":
    NO_MKDOCS_2_WARNING=1 uv run --group docs mkdocs build --strict --site-dir {{OUT}}

# Write each package's public names and parameters into its api.txt
api *PACKAGES:
    uv run scripts/api.py {{PACKAGES}}

# Raise one member's version (major, minor or patch), with the ranges, changelogs and api.txt that follow it
bump PACKAGE LEVEL:
    uv run scripts/bump.py {{PACKAGE}} {{LEVEL}}

# Write the exact version of every dependency into pyproject.toml; the ones named move to their newest
pin *NAMES:
    scripts/pin.py {{NAMES}}

# Speed of each row against the textbook formula, and against the committed baseline
bench *ARGS:
    mkdir -p .benchmarks
    uv run python -m pytest --override-ini=addopts=--import-mode=importlib --quiet benchmarks/suite.py \
        --benchmark-json=.benchmarks/latest.json {{ARGS}}
    uv run python -m benchmarks.report .benchmarks/latest.json

# Measure every row anew, for the baseline and docs/performance.md
bench-baseline: bench
    uv run python -m benchmarks.report .benchmarks/latest.json --write

# What a change must pass
ci:
    bash .ci/run

# Train a generator
train *ARGS:
    uv run trainer {{ARGS}}

# Measure a generator
evaluate *ARGS:
    uv run evaluator {{ARGS}}
