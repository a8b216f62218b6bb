#!/usr/bin/env bash
# What launch/tpu_vm.sh runs on each worker of a TPU, in ~/gan_jax.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "error: $1" >&2
    exit 2
}

# Whether the process of a pid file runs; after a reboot its number may be another's, in another folder.
alive() { [[ -s $1 && $(readlink "/proc/$(<"$1")/cwd") == "$PWD" ]]; }

# Mounts gs:BUCKET or nfs:HOST:/SHARE where all workers see it, and installs.
install() {
    local source=$1 shared=$2
    if ! mountpoint -q "$shared"; then
        sudo mkdir -p "$shared"
        case $source in
            gs:*) sudo chown "$(id -u)" "$shared" && mount_bucket "${source#gs:}" "$shared" ;;
            nfs:*) apt_get nfs-common && sudo mount -t nfs "${source#nfs:}" "$shared" && sudo chown "$(id -u)" "$shared" ;;
            *) fail "source $source: gs:BUCKET or nfs:HOST:/SHARE" ;;
        esac
    fi
    PATH=$HOME/.local/bin:$PATH
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
    [[ -x .venv/bin/python ]] || uv venv --quiet --python 3.12 .venv
    uv pip install --quiet --python .venv/bin/python -e '.[tpu]'
}

apt_get() {
    sudo apt-get -qq update
    sudo apt-get -qq -o DPkg::Lock::Timeout=600 install -y "$@" >/dev/null
}

# No metadata cache: all workers must see a checkpoint at once. Whole folders are renamed when one is complete.
mount_bucket() {
    if ! command -v gcsfuse >/dev/null; then
        curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg |
            sudo tee /usr/share/keyrings/cloud.google.asc >/dev/null
        echo "deb [signed-by=/usr/share/keyrings/cloud.google.asc] https://packages.cloud.google.com/apt" \
            "gcsfuse-$(lsb_release -cs) main" | sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
        apt_get gcsfuse
    fi
    gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 \
        --rename-dir-limit=100000 "$1" "$2"
}

# Starts the run unless it runs; it outlives this connection.
start() {
    if alive run.pid; then return; fi
    rm -f run.code run.stopped
    # shellcheck disable=SC2016 # expanded by the inner shell
    PYTHONUNBUFFERED=1 setsid nohup bash -c '
        .venv/bin/python -m gan_jax.main "$@" &
        echo $! >python.pid
        code=0
        wait $! || code=$?
        echo $code >run.code' run "$@" >run.log 2>&1 </dev/null &
    echo $! >run.pid
}

status() {
    if alive run.pid; then
        echo gan_jax:running
    elif [[ -e run.stopped ]]; then
        echo gan_jax:stopped
    elif [[ -s run.code ]]; then
        echo "gan_jax:$(<run.code)"
    elif [[ -e run.pid ]]; then
        echo gan_jax:lost
    else
        echo gan_jax:absent
    fi
}

follow() { tail -n 40 -s 0.2 -F "--pid=$(<run.pid)" run.log 2>/dev/null; }

# Asks the run to save and leave.
stop() {
    touch run.stopped
    if alive run.pid && alive python.pid; then kill -TERM "$(<python.pid)"; fi
    for ((second = 0; second < 600; second++)); do
        alive run.pid || return 0
        sleep 1
    done
    fail "the run has not left after 10 minutes"
}

case ${1:-} in
    install | start | status | follow | stop) "$@" ;;
    tail) tail -n 20 run.log ;;
    *) fail "'${1:-}' is no command: install, start, status, follow, tail or stop" ;;
esac
