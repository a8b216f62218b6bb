#!/usr/bin/env bash
# Trains on all GPUs of this machine, installing first if need be. docs/launch.md explains.
#   launch/gpu.sh [--venv=.venv] [--dry_run] -- --config=configs/X.py --workdir=runs/X
set -euo pipefail

DRIVER=580 # the oldest major version that CUDA 13, which the extra `cuda` installs, works with

fail() {
    echo "error: $1" >&2
    exit 2
}

venv=.venv dry=false
while (($#)); do
    case $1 in
        --venv=*) venv=${1#*=} ;;
        --dry_run) dry=true ;;
        --) shift; break ;;
        *) fail "unknown flag $1: --venv=DIR and --dry_run; those of gan_jax.main follow --" ;;
    esac
    shift
done
[[ " $* " == *" --config="* ]] || fail "--config is missing after --: the flags of gan_jax.main"
[[ " $* " == *" --workdir="* ]] || fail "--workdir is missing after --: the flags of gan_jax.main"

do_() {
    if $dry; then { printf '+' && printf ' %q' "$@" && echo; } >&2; else "$@"; fi
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ! $dry; then
    command -v nvidia-smi >/dev/null || fail "nvidia-smi is missing: install the NVIDIA driver"
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n1) ||
        fail "nvidia-smi finds no GPU: ${driver:-}"
    ((${driver%%.*} >= DRIVER)) || fail "driver $driver is too old for CUDA 13: install $DRIVER or newer"
fi
# The stamp is older than pyproject.toml after an update, and is written when the install is complete.
if [[ ! $venv/installed -nt $root/pyproject.toml ]]; then
    do_ "${PYTHON:-python3}" -m venv "$venv"
    do_ "$venv/bin/python" -m pip install --quiet -e "${root}[cuda]"
    do_ touch "$venv/installed"
fi
if ! $dry; then
    "$venv/bin/python" -c 'import jax; raise SystemExit(jax.default_backend() != "gpu")' ||
        fail "JAX does not see the GPU: $venv/bin/python -c 'import jax; jax.devices(\"gpu\")' says why"
fi
do_ exec "$venv/bin/python" -m gan_jax.main "$@" # its exit code and its signals are ours
