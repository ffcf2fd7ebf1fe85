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

# Style, and the pins against uv.lock
lint:
    uv run ruff check
    uv run ruff format --check
    scripts/pin.py --check

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

# One member's tests in an environment that holds it, what it asks for, and nothing else of ours
alone PACKAGE:
    uv run --isolated --exact --package discrete-diffusion-{{PACKAGE}} --group test {{ if PACKAGE =~ '^(datasets|eval)$' { "--all-extras" } else { "" } }} \
        sh -c 'python scripts/alone.py {{PACKAGE}} && pytest "$(dirname */{{PACKAGE}}/pyproject.toml)"'

# Every member's wheel and source distribution
build OUT="dist":
    uv build --all-packages --no-sources --out-dir {{OUT}}

# Write the exact version of every dependency into pyproject.toml; the ones named move to their newest
pin *NAMES:
    scripts/pin.py {{NAMES}}

# Speed, each against the textbook formula
bench *ARGS:
    uv run pytest --numprocesses=0 benchmarks/*.py {{ARGS}}

# What a change must pass
ci:
    bash .ci/run

# Train a generator
train *ARGS:
    uv run trainer {{ARGS}}

# Measure a generator
evaluate *ARGS:
    uv run evaluator {{ARGS}}
