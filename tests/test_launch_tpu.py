"""launch/tpu_vm.sh against a fake gcloud that records its calls and injects failures.

The fake really runs what it is asked to run on the workers, each a folder with its own HOME; only the training and the
tools that need root are fakes there, too.
"""

import pathlib
import re
import shlex
import signal
import subprocess

import pytest
from test_launch import LAUNCH, command, fake, surroundings

GCLOUD = r"""
cd "$FAKE"
verb=$4 worker='' command=''
for argument in "$@"; do
  case $argument in
    --worker=*) worker=${argument#*=} ;;
    --command=*) command=${argument#*=} ;;
  esac
done
if [[ $verb == ssh ]]; then
  [[ $command =~ tpu_worker.sh\ ([a-z]+) ]]
  verb=${BASH_REMATCH[1]}
fi
echo "$verb" >>calls
echo "$*" >>commands
if [[ -s fail.$verb ]]; then
  IFS= read -r failure <fail.$verb
  sed -i 1d fail.$verb
  case $failure in
    ok) ;;
    *ALREADY_EXISTS*) echo READY >state; mkdir -p worker0 worker1; echo "$failure" >&2; exit 1 ;;  # its reply was lost
    BECOME*)  # the machine goes, and all that runs on it, once both workers have begun
      for _ in {1..200}; do (( $(cat trained 2>/dev/null | wc -l) < 2 )) || break; sleep 0.05; done
      for pid in worker*/gan_jax/run.pid; do kill -KILL -- "-$(<"$pid")"; done
      rm -rf worker*
      echo "${failure#BECOME }" >state
      exit 255
      ;;
    *) echo "$failure" >&2; exit 1 ;;
  esac
fi
case $verb in
  describe)
    state=$(<state)
    if [[ $state == NONE ]]; then echo 'ERROR: NOT_FOUND: no such resource' >&2; exit 1; fi
    echo "$state"
    if [[ $state == CREATING || $state == WAITING_FOR_RESOURCES ]]; then echo READY >state; fi
    ;;
  create) echo CREATING >state; mkdir -p worker0 worker1 ;;
  delete) echo NONE >state ;;
  scp) for home in worker*; do cp "$5" "$home/${6#*:}"; done ;;
  *)
    [[ $(<state) == READY ]] || exit 255
    if [[ $worker == all ]]; then worker='?'; fi
    if [[ $verb == follow ]]; then touch followed; fi
    for home in worker$worker; do (cd "$home" && HOME=$PWD bash -c "$command") || exit $?; done
    ;;
esac
"""
# Trains until its log is followed, then ends as the next line of `outcomes` says.
PYTHON = r"""
echo "$*" >>"$FAKE/trained"
echo "images of ${PWD##*/worker}"
trap 'echo saved >>"$FAKE/saved"; exit 143' TERM
for ((i = 0; i < 600; i++)); do
  if [[ -e $FAKE/followed ]]; then break; fi
  sleep 0.05 &
  wait $!
done
echo "" >>"$FAKE/lives.$(basename "$HOME")"
exit "$(sed -n "$(wc -l <"$FAKE/lives.$(basename "$HOME")")p" "$FAKE/outcomes")"
"""
UV = r"""
echo "$*" >>"$FAKE/installed"
if [[ $1 == venv ]]; then mkdir -p .venv/bin && cp "$FAKE/bin/fake-python" .venv/bin/python; fi
"""


class Cloud:
    """A fake project with at most one TPU of two workers."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        for name, body in {"gcloud": GCLOUD, "fake-python": PYTHON, "uv": UV}.items():
            fake(folder / "bin", name, body)
        fake(folder / "bin", "mountpoint", 'grep -q gcsfuse "$FAKE/mounts.$(basename "$HOME")" 2>/dev/null')
        fake(folder / "bin", "sudo", 'echo "$*" >>"$FAKE/sudo"')
        fake(folder / "bin", "gcsfuse", 'echo "gcsfuse $*" >>"$FAKE/mounts.$(basename "$HOME")"')
        (folder / "state").write_text("NONE\n")
        (folder / "outcomes").write_text("0\n" * 9)

    def fail(self, verb: str, *messages: str) -> None:
        """Makes the next calls of `verb` fail, in turn; "ok" lets one pass, "BECOME STATE" changes the machine."""
        (self.folder / f"fail.{verb}").write_text("".join(f"{message}\n" for message in messages))

    def outcomes(self, *codes: int) -> None:
        (self.folder / "outcomes").write_text("".join(f"{code}\n" for code in codes))

    def run(self, *more: str, flags: str = "--config=configs/digits.py") -> subprocess.CompletedProcess:
        """`tpu_vm.sh run` with all it needs."""
        where = "--name=tpu --zone=zone --type=v5litepod-8 --version=v2 --workdir=runs/a --bucket=pail --poll=0"
        return self.script("run", *where.split(), *more, "--", *shlex.split(flags))

    def script(self, *arguments: str) -> subprocess.CompletedProcess:
        return command([str(LAUNCH / "tpu_vm.sh"), *arguments], self.folder)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def calls(self) -> str:
        """Verbs since the last time, without looks that poll."""
        calls: list[str] = []
        for verb in self.lines("calls"):
            if verb not in ("status", calls[-1] if calls else ""):
                calls.append(verb)
        (self.folder / "calls").unlink(missing_ok=True)
        return " ".join(calls)


@pytest.fixture
def cloud(tmp_path: pathlib.Path) -> Cloud:
    return Cloud(tmp_path)


SET_UP = "describe create describe scp install start follow"


def test_tpu_makes_the_machine_and_trains_on_all_workers(cloud: Cloud) -> None:
    done = cloud.run("--spot", "--project=mine", "--keep", flags="--config=configs/digits.py '--config.data.path=a b'")
    assert done.returncode == 0, done.stderr
    assert cloud.calls() == SET_UP and "launch/tpu_vm.sh delete" in done.stderr  # kept, as asked
    commands = cloud.lines("commands")
    assert all("--zone=zone" in line and "--project=mine" in line and "--quiet" in line for line in commands)
    (create,) = [line for line in commands if " create " in line]
    assert {"--accelerator-type=v5litepod-8", "--version=v2", "--spot"} <= set(create.split())
    words = "-m gan_jax.main --config=configs/digits.py --config.data.path=a b --workdir=/mnt/gan_jax/runs/a"
    assert cloud.lines("trained") == [words] * 2
    assert "images of 0" in done.stdout and "images of 1" not in done.stdout  # process 0 tells how it goes
    for worker in (0, 1):
        (mount,) = cloud.lines(f"mounts.worker{worker}")
        assert mount.endswith(" pail /mnt/gan_jax") and "--metadata-cache-ttl-secs=0" in mount


def test_tpu_tries_again_what_passes(cloud: Cloud) -> None:
    cloud.fail("describe", "ERROR: UNAVAILABLE: try later")
    cloud.fail("create", "ERROR: internal error", "ERROR: ALREADY_EXISTS: the machine")
    cloud.fail("status", "ssh: connect to host port 22: Connection refused", "Permission denied (publickey)")
    cloud.fail("install", "Could not get lock")
    cloud.fail("follow", "client_loop: send disconnect: Broken pipe", "Connection reset by peer")
    done = cloud.run("--retries=6")
    assert done.returncode == 0, done.stderr
    assert cloud.calls() == (
        "describe create describe scp install describe scp install start follow describe follow describe follow delete"
    )
    assert len(cloud.lines("trained")) == 2  # one start a worker: the run outlives a dropped connection


@pytest.mark.parametrize(("queued", "state"), [(False, "PREEMPTED"), (True, "SUSPENDED")])
def test_tpu_is_made_again_after_a_preemption(cloud: Cloud, queued: bool, state: str) -> None:
    cloud.fail("follow", f"BECOME {state}")
    done = cloud.run("--spot", *(["--queued"] if queued else []))
    assert done.returncode == 0, done.stderr
    assert cloud.calls() == f"{SET_UP} describe delete {SET_UP} delete"
    assert len(set(cloud.lines("trained"))) == 1 and len(cloud.lines("trained")) == 4  # the same command resumes
    commands = cloud.lines("commands")
    kinds = {line.split()[2] for line in commands if " create " in line or " delete " in line}
    assert kinds == {"queued-resources" if queued else "tpu-vm"}
    if queued:
        assert all("--node-id=tpu" in line for line in commands if " create " in line)
        assert all("--force" in line for line in commands if " delete " in line)


def test_tpu_preempted_for_ever_is_given_up(cloud: Cloud) -> None:
    cloud.fail("follow", *["BECOME PREEMPTED"] * 3)
    done = cloud.run("--preemptions=1")
    assert done.returncode == 4 and "tpu was taken away" in done.stderr
    assert cloud.lines("calls").count("create") == 2


def test_tpu_same_command_goes_on_where_it_was(cloud: Cloud) -> None:
    cloud.fail("follow", *["Connection reset by peer"] * 2)
    lost = cloud.run("--retries=2")
    assert lost.returncode == 4 and "give the same command again" in lost.stderr
    assert "delete" not in cloud.calls()
    again = cloud.run()
    assert again.returncode == 0, again.stderr
    assert cloud.calls() == "describe follow delete"  # deleted, since --keep was not given
    assert len(cloud.lines("trained")) == 2


@pytest.mark.parametrize(
    ("verb", "message", "says"),
    [
        ("describe", "ERROR: You do not currently have an active account selected.", "gcloud auth login"),
        ("describe", "ERROR: PERMISSION_DENIED: tpu.nodes.get", "roles/tpu.admin"),
        ("create", "ERROR: code: 8, message: Quota limit 'TPUV5sPerProject' has been exceeded.", "quota exhausted"),
        ("create", "ERROR: INVALID_ARGUMENT: accelerator type v5litepod-8 not found", "refuses the request"),
    ],
)
def test_tpu_gives_up_at_once_where_waiting_cannot_help(cloud: Cloud, verb: str, message: str, says: str) -> None:
    cloud.fail(verb, message)
    done = cloud.run()
    assert done.returncode == 2
    assert cloud.calls() == ("describe" if verb == "describe" else "describe create")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in line and message in line


def test_tpu_gives_up_after_a_bound_where_waiting_may_help(cloud: Cloud) -> None:
    cloud.fail("create", *["ERROR: code: 8, message: There is no more capacity in the zone, see quota page"] * 9)
    done = cloud.run("--retries=3")
    assert done.returncode == 4 and "no more capacity" in done.stderr
    assert cloud.lines("calls").count("create") == 3


@pytest.mark.parametrize("codes", [[2], [143, 4, 3], [1, 1]], ids=str)
def test_tpu_exit_code_is_that_of_the_run(cloud: Cloud, codes: list[int]) -> None:
    """SIGTERM by the system is no failure, crashes and failed meetings are tried again; codes 2 and 3 are final."""
    cloud.outcomes(*codes)
    done = cloud.run("--crashes=1")
    assert done.returncode == codes[-1], done.stderr
    assert len(cloud.lines("trained")) == 2 * len(codes)
    assert "images of 1" in done.stdout  # the end of every worker's log
    assert cloud.lines("state") == ["NONE"]


def test_tpu_delete_saves_first_and_the_other_terminal_leaves(cloud: Cloud) -> None:
    cloud.fail("follow", *["Connection reset by peer"] * 2)
    assert cloud.run("--retries=2").returncode == 4  # still running there
    where = ("--name=tpu", "--zone=zone", "--poll=0")
    status = cloud.script("status", *where)
    assert status.stdout.split() == ["tpu:", "READY", "gan_jax:running", "gan_jax:running"]
    cloud.fail("delete", "ERROR: PERMISSION_DENIED: not now")
    assert cloud.script("delete", *where).returncode == 2
    assert cloud.lines("saved") == ["saved"] * 2
    cloud.calls()
    left = cloud.run()  # as another terminal would, between the two steps of delete
    assert left.returncode == 143 and cloud.calls() == "describe"
    assert cloud.script("delete", *where).returncode == 0 and cloud.lines("state") == ["NONE"]
    cloud.calls()
    assert cloud.script("delete", *where).returncode == 0 and cloud.calls() == "describe"


def test_tpu_deleted_by_hand_is_not_made_again(cloud: Cloud) -> None:
    cloud.fail("follow", "BECOME NONE")
    done = cloud.run()
    assert done.returncode == 143 and "deleted by someone else" in done.stderr
    assert cloud.calls() == f"{SET_UP} describe"


def test_tpu_interrupt_leaves_the_machine_and_says_so(cloud: Cloud) -> None:
    (cloud.folder / "state").write_text("REPAIRING\n")
    where = "--name=tpu --zone=zone --type=t --version=v --workdir=w --nfs=h:/s --poll=1"
    arguments = f"run {where} -- --config=configs/digits.py"
    # A shell cannot trap a signal that it was started to ignore, as jobs in the background are.
    line = ["env", "--default-signal=INT", LAUNCH / "tpu_vm.sh", *arguments.split()]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=surroundings(cloud.folder))
    assert process.stderr is not None
    assert "waiting: tpu is REPAIRING" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "delete ends it" in process.communicate(timeout=30)[1]
    assert process.returncode == 130 and set(cloud.lines("calls")) == {"describe"}


def test_tpu_dry_run_prints_every_command_and_runs_none(cloud: Cloud) -> None:
    done = cloud.run("--dry_run", "--queued")
    assert done.returncode == 0, done.stderr
    assert not cloud.lines("calls") and not cloud.lines("sudo")
    printed = [shlex.split(line)[1:] for line in done.stderr.splitlines() if line.startswith("+ ")]
    assert all(words[:3] == ["gcloud", "compute", "tpus"] for words in printed)
    verbs = [re.search(r"tpu_worker.sh (\w+)", " ".join(words)) for words in printed]
    shown = [verb[1] if verb else words[4] for verb, words in zip(verbs, printed, strict=True)]
    assert " ".join(verb for verb in shown if verb != "status") == f"{SET_UP} delete"


BAD = {
    "name": "--zone=z",
    "zone": "--name=n",
    "type": "--name=n --zone=z --version=v --workdir=w --bucket=b",
    "version": "--name=n --zone=z --type=t --workdir=w --bucket=b",
    "workdir": "--name=n --zone=z --type=t --version=v --bucket=b",
    "--bucket or --nfs is missing": "--name=n --zone=z --type=t --version=v --workdir=w",
    "not both": "--name=n --zone=z --type=t --version=v --workdir=w --bucket=b --nfs=h:/s",
    "--workdir=/w must be relative": "--name=n --zone=z --type=t --version=v --workdir=/w --bucket=b",
    "--workdir=../w must be relative": "--name=n --zone=z --type=t --version=v --workdir=../w --bucket=b",
    "--config is missing": "--name=n --zone=z --type=t --version=v --workdir=w --bucket=b -- --config.seed=1",
    "no file in configs/": "--name=n --zone=z --type=t --version=v --workdir=w --bucket=b -- --config=/etc/passwd",
    "before --": "--name=n --zone=z --type=t --version=v --workdir=w --bucket=b -- --config=c --workdir=x",
    "unknown flag --nmae=n": "--nmae=n",
    "--retries=many is no count": "--name=n --zone=z --retries=many",
}


@pytest.mark.parametrize(("says", "flags"), BAD.items())
def test_tpu_bad_input_is_one_line(cloud: Cloud, says: str, flags: str) -> None:
    done = cloud.script("run", *flags.split())
    assert done.returncode == 2 and not cloud.lines("calls")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and says in line
