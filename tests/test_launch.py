"""The scripts of launch/ other than tpu_vm.sh, with stand-ins for SLURM and the GPU, and their page."""

import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable

import pytest
import yaml

from gan_jax.config import load_config

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch"])
Run = Callable[..., subprocess.CompletedProcess]


def fake(folder: pathlib.Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def surroundings(fakes: pathlib.Path) -> dict[str, str]:
    return {**os.environ, "FAKE": str(fakes), "PATH": f"{fakes / 'bin'}:{os.environ['PATH']}"}


def command(arguments: list[str], fakes: pathlib.Path, **variables: str) -> subprocess.CompletedProcess:
    environment = surroundings(fakes) | variables
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT)


# ------------------------------------------------------------------ SLURM


@pytest.fixture
def slurm(tmp_path: pathlib.Path) -> Run:
    """Runs the batch script as sbatch would; srun's tasks end with `code`, the job is in `state`."""
    fake(tmp_path / "bin", "srun", 'printf "%s|" "$@" >>"$FAKE/srun"; exit "$CODE"')
    fake(tmp_path / "bin", "squeue", 'echo "$STATE"')
    fake(tmp_path / "bin", "scontrol", 'echo "$*" >>"$FAKE/scontrol"')

    def submit(*arguments: str, code: int = 0, state: str = "RUNNING", job: str = "7") -> subprocess.CompletedProcess:
        variables = {"CODE": str(code), "STATE": state, "SLURM_JOB_ID": job, "PYTHON": sys.executable}
        return command(["bash", str(LAUNCH / "slurm.sbatch"), *arguments], tmp_path, **variables)

    return submit


FLAGS = ("--config=configs/digits.py", "--workdir=runs/a b")


@pytest.mark.parametrize(
    ("code", "state", "requeued"),
    [(0, "RUNNING", False), (2, "RUNNING", False), (3, "RUNNING", False), (4, "RUNNING", False)]
    + [(143, "RUNNING", True), (143, "CANCELLED", False), (143, "COMPLETING", False)],
)
def test_slurm_requeues_a_run_that_saved(
    slurm: Run, tmp_path: pathlib.Path, code: int, state: str, requeued: bool
) -> None:
    done = slurm(*FLAGS, code=code, state=state)
    assert done.returncode == code, done.stderr
    called = (tmp_path / "srun").read_text().split("|")[:-1]
    assert called == ["--kill-on-bad-exit=1", sys.executable, "-m", "gan_jax.main", *FLAGS]
    assert (tmp_path / "scontrol").exists() == requeued
    if requeued:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"


def test_slurm_bad_input_is_one_line(slurm: Run, tmp_path: pathlib.Path) -> None:
    for done, says in (
        (slurm(*FLAGS, job=""), "SLURM_JOB_ID"),
        (slurm(FLAGS[0]), "--workdir"),
        (slurm(FLAGS[1]), "--config"),
    ):
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and line.startswith("error: ") and says in line
    assert not (tmp_path / "srun").exists()


def test_slurm_directives_leave_time_to_save_and_come_back() -> None:
    text = (LAUNCH / "slurm.sbatch").read_text()
    directives = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", text, re.M)
    assert text.index("set -euo") > text.rindex("#SBATCH")  # SLURM stops reading them at the first command
    found = dict(directives)
    number, seconds = found["signal"].split("@")
    assert number == "TERM" and int(seconds) >= 60  # to the tasks: no B:, which would be the batch shell alone
    assert "requeue" in found and found["open-mode"] == "append"


# ------------------------------------------------------------------ a machine with GPUs


def test_gpu_installs_once_and_hands_over(tmp_path: pathlib.Path) -> None:
    """A venv made by a fake python3, whose pip and training are fakes as well."""
    fake(tmp_path / "bin", "nvidia-smi", 'echo "${FAKE_DRIVER:-590.12.03}"')
    fake(
        tmp_path / "bin", "venv-python", 'echo "$*" >>"$FAKE/python"\nif [[ $* == *gan_jax.main* ]]; then exit 143; fi'
    )
    make = 'mkdir -p "$3/bin"\ncp "$FAKE/bin/venv-python" "$3/bin/python"'
    fake(tmp_path / "bin", "python3", make)
    script = [str(LAUNCH / "gpu.sh"), f"--venv={tmp_path / 'venv'}", "--", *FLAGS]
    for _ in range(2):
        assert command(script, tmp_path).returncode == 143  # the exit code of the run
    called = (tmp_path / "python").read_text().splitlines()
    assert [line.split()[1] for line in called if line.startswith("-m")] == ["pip", "gan_jax.main", "gan_jax.main"]
    assert called[0].endswith("[cuda]")
    assert called[-1] == f"-m gan_jax.main {FLAGS[0]} {FLAGS[1]}"
    old = command(script, tmp_path, FAKE_DRIVER="570.86.10")
    assert (
        old.returncode == 2 and old.stderr == "error: driver 570.86.10 is too old for CUDA 13: install 580 or newer\n"
    )
    for arguments in ([FLAGS[0]], ["--", FLAGS[0]], ["--", FLAGS[1]]):
        bad = command([script[0], *arguments], tmp_path)
        assert bad.returncode == 2 and len(bad.stderr.splitlines()) == 1
    dry = command([script[0], "--dry_run", *script[1:]], tmp_path)
    assert dry.returncode == 0 and dry.stderr.splitlines()[-1].startswith("+ exec ")
    assert (tmp_path / "python").read_text().count("gan_jax.main") == 2


# ------------------------------------------------------------------ Kubernetes


def test_jobset_fields_agree() -> None:
    jobset = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    assert jobset["kind"] == "JobSet" and jobset["apiVersion"].startswith("jobset.x-k8s.io/")
    (worker,) = jobset["spec"]["replicatedJobs"]
    job = worker["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    chips = math.prod(int(side) for side in pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert job["parallelism"] == job["completions"] == chips // container["resources"]["limits"]["google.com/tpu"]
    # All processes start again together, but not after codes that would only come again.
    assert pod["restartPolicy"] == "Never" and job["backoffLimit"] == 0
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2, 3]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert rule == {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    # The workdir lies on the volume that all workers share.
    (mount,) = container["volumeMounts"]
    arguments = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    assert arguments["workdir"].startswith(mount["mountPath"] + "/")
    assert mount["name"] == pod["volumes"][0]["name"]
    load_config(ROOT / arguments["config"])
    image = container["image"].rsplit("/", 1)[1].split(":")[0]
    assert f"/{image}:" in (ROOT / "docs" / "launch.md").read_text()


def test_dockerfile_installs_what_pyproject_says() -> None:
    lines = (LAUNCH / "Dockerfile").read_text().splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    copied = {source for name, rest in steps if name == "COPY" for source in rest.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"], *packages}
    assert needed | {"configs"} == copied and all((ROOT / source).exists() for source in copied)
    (extra,) = [rest.split("=")[1] for name, rest in steps if name == "ARG"]
    assert {extra, "cuda"} <= set(project["project"]["optional-dependencies"])
    assert [rest for name, rest in steps if name == "RUN"] == ['pip install --no-cache-dir ".[${EXTRA}]"']
    (version,) = [re.search(r"python:(\d+)\.(\d+)", rest) for name, rest in steps if name == "FROM"]
    assert version and f"Python :: {version[1]}.{version[2]}" in " ".join(project["project"]["classifiers"])
    python, main = steps[-1][1].strip("[]").replace('"', "").split(", ", 1)
    assert (python, main) == ("python", "-m, gan_jax.main")


# ------------------------------------------------------------------ all scripts, and their page


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_sound(script: pathlib.Path) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    assert shellcheck, "pip install -e '.[test]' installs it"
    done = subprocess.run([shellcheck, "--shell=bash", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert re.search(r"^set -euo pipefail$", script.read_text(), re.M)
    assert script.suffix == ".sbatch" or os.access(script, os.X_OK)


def page_commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "docs" / "launch.md").read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", [line for line in page_commands() if re.match(r"launch/(tpu_vm|gpu)\.sh", line)])
def test_page_commands_run_dry(tmp_path: pathlib.Path, line: str) -> None:
    script, *arguments = shlex.split(line)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    done = command([script, *arguments[:at], "--dry_run", *arguments[at:]], tmp_path)
    assert done.returncode == 0, done.stderr


def test_page_names_flags_codes_and_files_that_exist() -> None:
    text = (ROOT / "docs" / "launch.md").read_text()
    for path in set(re.findall(r"(?<![\w/])(?:launch|configs|tests|gan_jax)/[\w/]+\.\w+", text)) - {"configs/X.py"}:
        assert (ROOT / path).exists(), path
    doorways = "".join((ROOT / "gan_jax" / name).read_text() for name in ("main.py", "cli.py"))
    for line in page_commands():
        # Flags of gan_jax.main come last, after the name of the script or after --.
        flags = line.split(" -- " if " -- " in line else ".sbatch ")[1:] if "launch/" in line else []
        for name in re.findall(r"--([\w.]+)=", " ".join(flags)):
            assert name.startswith("config.") or f'("{name}"' in doorways, name
    config = load_config(ROOT / "configs" / "digits.py")
    for name in re.findall(r"--config\.([\w.]+)", text):
        value = config
        for part in name.rstrip(".").split("."):
            value = getattr(value, part)
    scripts = "".join(path.read_text() for path in SCRIPTS)
    for name in ("preemptions", "retries", "poll", "crashes", "keep", "queued", "spot", "nfs", "bucket", "venv"):
        assert f"--{name}" in text and f"--{name}" in scripts
    usage = subprocess.run([LAUNCH / "tpu_vm.sh", "--help"], capture_output=True, text=True, check=True).stdout
    for name, default in re.findall(r"--(\w+)  [^-]*?\((\d+)\)", usage):
        assert re.search(rf"\b{name.upper()}={default}\b", scripts), name
