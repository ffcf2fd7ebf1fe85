import os
from pathlib import Path
from subprocess import CompletedProcess

import programs
import pytest

from discrete_diffusion.commandline import launch
from discrete_diffusion.commandline.sweeps import Job

PROGRAM = """
from discrete_diffusion.commandline import launch

def task(config):
    if config.steps < 1:
        raise ValueError(f"Expected `steps` >= 1, got {config.steps}.")
    print("steps", config.steps)

launch(task, config_path="pkg://configuration", config_name="program", commands=["convert"])
"""


@pytest.fixture
def run(tmp_path: Path):
    package = tmp_path / "configuration"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "program.yaml").write_text("steps: 3\nhydra:\n  run:\n    dir: .\n  output_subdir: null\n")
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(*arguments: str) -> CompletedProcess[str]:
        return programs.run("program.py", *arguments, cwd=tmp_path)

    return run


def test_a_task_gets_the_composed_configuration(run):
    done = run("steps=5")
    assert (done.returncode, done.stdout) == (0, "steps 5\n")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("steps=0", "program: Expected `steps` >= 1, got 0."),
        ("convrt", "program: Expected convert or settings such as NAME=VALUE, got convrt: see `--help`."),
        ("stpes=3", "stpes"),
    ],
)
def test_a_mistake_exits_with_2(run, argument: str, message: str):
    done = run(argument)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_lists_how_its_jobs_ended(run, tmp_path: Path):
    yaml = (tmp_path / "configuration" / "program.yaml").read_text()
    callback = "  callbacks: {sweep: {_target_: discrete_diffusion.commandline.sweeps.SweepFolder}}\n"
    (tmp_path / "configuration" / "program.yaml").write_text(yaml + "  sweep: {dir: sweep}\n" + callback)
    program = PROGRAM.replace("    print(", "    if config.steps == 2:\n        raise KeyboardInterrupt\n    print(")
    last = "\nfinally:\n    from discrete_diffusion.commandline.sweeps import ended_jobs\n    print(ended_jobs())\n"
    program = program.replace("\nlaunch(", "\ntry:\n    launch(").rstrip() + last
    (tmp_path / "program.py").write_text(program)
    done = run("--multirun", "steps=3,0,2,5")
    assert done.returncode == 130
    jobs = [
        Job(number, [f"steps={steps}"], status, str(tmp_path / "sweep" / str(number)))
        for number, (steps, status) in enumerate([(3, "ok"), (0, "failed"), (2, "stopped")])
    ]
    assert done.stdout.splitlines()[-1] == repr((Path("sweep"), jobs))
    assert run("steps=3").stdout.splitlines()[-1] == "(None, [])"


def test_a_value_that_an_option_does_not_take_is_one_line(run):
    done = run("--cfg", "jbo")
    assert done.returncode == 2
    assert done.stderr.startswith("program: Argument --cfg/-c: invalid choice: 'jbo'")
    assert len(done.stderr.splitlines()) == 1


def test_a_job_that_writes_nothing_leaves_no_folder(run, tmp_path: Path):
    log = ["hydra.job_logging.handlers.file.filename=${hydra.runtime.output_dir}/${hydra.job.name}.log"]
    assert run("hydra.run.dir=new", "hydra.job.name=program", "steps=3", *log).returncode == 0
    assert (tmp_path / "new" / "program.log").is_file()
    assert run("hydra.run.dir=other", "hydra.job.name=program", "steps=0", *log).returncode == 2
    assert not (tmp_path / "other").exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "results.csv").write_text("")
    assert run("hydra.run.dir=kept", "hydra.job.name=program", "steps=0", *log).returncode == 2
    assert (tmp_path / "kept" / "results.csv").is_file()


def test_threads_that_wait_do_not_spin_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is restored
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr("sys.argv", ["app", "nonsense"])
    with pytest.raises(SystemExit):
        launch(lambda config: None, config_path="pkg://none", config_name="app")
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    with pytest.raises(SystemExit):
        launch(lambda config: None, config_path="pkg://none", config_name="app")
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_a_refused_run_leaves_no_folder_inside_the_current_one(run, tmp_path: Path):
    log = "hydra.job_logging.handlers.file.filename=${hydra.runtime.output_dir}/${hydra.job.name}.log"
    assert run("steps=0", "hydra.run.dir=new/name/run", log).returncode == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    assert run("steps=0", "hydra.run.dir=kept/name/run", log).returncode == 2
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["file"]
