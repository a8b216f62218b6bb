#!/usr/bin/env bash
# Runs one training run as N real processes on this machine, the way the machines of a pod would.
#
#   launch/local.sh N CONFIG [flags of gan_jax.main]
#   launch/local.sh 2 configs/digits.py --workdir=runs/digits
#
# Ctrl-C and SIGTERM are passed on to all processes, which save the same step and leave; the same line resumes.
# The exit code is that of the first process to fail, 0 when none does. Once one has failed, the others have
# GRACE seconds to leave by themselves; then they are killed.
#
# Environment:
#   CPU_DEVICES  CPU devices over all processes, a multiple of N (default: N)
#   GRACE        see above (default: 20)
#   PORT         at which the processes meet (default: a free one)
#   PYTHON       interpreter (default: python)
#   VERB         main, or evaluate, which takes no CONFIG (default: main)
#   JAX_PLATFORMS  default: cpu, since one process serves all GPUs of a machine (launch/gpu.sh)

set -euo pipefail
set -m # each process in a group of its own: Ctrl-C reaches this script alone, which passes it on

fail() {
    echo "error: $1" >&2
    exit 2
}

[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || fail "say how many processes: launch/local.sh N CONFIG --workdir=FOLDER"
number=$1
shift
if (($#)) && [[ $1 != -* ]]; then
    set -- "--config=$1" "${@:2}"
fi
devices=${CPU_DEVICES:-$number}
if [[ ! $devices =~ ^[1-9][0-9]*$ ]] || ((devices % number)); then
    fail "CPU_DEVICES=$devices must be a multiple of the $number processes"
fi
python=${PYTHON:-python}
command -v "$python" >/dev/null || fail "PYTHON=$python is no command"
installed='from importlib.util import find_spec; raise SystemExit(not (find_spec("gan_jax") and find_spec("jax")))'
"$python" -c "$installed" || fail "PYTHON=$python has no gan_jax: activate its environment, or set PYTHON"

free_port='import socket; s = socket.create_server(("", 0)); print(s.getsockname()[1])'
port=${PORT:-$("$python" -c "$free_port")}
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu}
export JAX_NUM_CPU_DEVICES=$((devices / number))

pids=() # of the processes that still run, by number
# shellcheck disable=SC2317,SC2329 # called by the traps
pass_on() {
    for pid in "${pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
kill_all() {
    for pid in "${pids[@]}"; do kill -s KILL -- "-$pid" 2>/dev/null || true; done
}
trap 'pass_on INT' INT
trap 'pass_on TERM' TERM HUP
trap kill_all EXIT

for ((index = 0; index < number; index++)); do
    "$python" -m "gan_jax.${VERB:-main}" \
        --coordinator="127.0.0.1:$port" --processes="$number" --process="$index" "$@" &
    pids[index]=$!
done

first=0
deadline=
while ((${#pids[@]})); do
    sleep 0.1
    for index in "${!pids[@]}"; do
        if kill -0 "${pids[index]}" 2>/dev/null; then
            continue
        fi
        code=0
        wait "${pids[index]}" 2>/dev/null || code=$?
        unset "pids[$index]"
        if ((code && !first)); then
            first=$code
            deadline=$((SECONDS + ${GRACE:-20}))
            echo "process $index of $number ended with exit code $code" >&2
        fi
    done
    if [[ -n $deadline ]] && ((SECONDS > deadline)); then
        kill_all
    fi
done
exit "$first"
