#!/usr/bin/env bash
# Trains on a Cloud TPU: makes the machine, waits, installs, runs on all workers, streams the log, makes the
# machine again after a preemption and goes on, deletes it at the end. docs/launch.md explains.
set -euo pipefail

usage() {
    cat <<'END'
launch/tpu_vm.sh run --name=N --zone=Z --type=T --version=V --workdir=DIR (--bucket=B | --nfs=HOST:/SHARE) -- FLAGS
launch/tpu_vm.sh status|logs|delete --name=N --zone=Z

  run      all of it; the same command again goes on wherever it was.  FLAGS are those of gan_jax.main
  status   state of the machine and of the run on each worker
  logs     follows the log of worker 0
  delete   asks the run to save, then deletes the machine

  --name     of the TPU                       --project      default: that of gcloud
  --zone     e.g. us-central1-a               --queued       wait in the queue of TPU requests
  --type     e.g. v5litepod-16                --spot         cheaper, may be taken away at any time
  --version  e.g. v2-alpha-tpuv5-lite         --keep         do not delete the machine at the end
  --workdir  relative to the bucket or share  --retries      of one failing gcloud command (5)
  --bucket   Cloud Storage, by gcsfuse        --preemptions  after which to give up (100)
  --nfs      Filestore or another NFS server  --crashes      of the run after which to give up (3)
  --poll     seconds between two looks (15)   --dry_run      print every command, run none
END
}

fail() { echo "error: $1" >&2; exit "${2:-2}"; }
say() { echo "tpu_vm: $*" >&2; }

NAME='' ZONE='' TYPE='' VERSION='' WORKDIR='' BUCKET='' NFS='' PROJECT=''
QUEUED=false SPOT=false KEEP=false DRY=false POLL=15 RETRIES=5 PREEMPTIONS=100 CRASHES=3
SHARED=/mnt/gan_jax # where every worker sees the bucket or share
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
FLAGS=()

parse() {
    VERB=${1:-}
    case $VERB in
        run | status | logs | delete) shift ;;
        -h | --help) usage; exit 0 ;;
        *) fail "'$VERB' is no command: run, status, logs or delete" ;;
    esac
    while (($#)); do
        case $1 in
            --name=* | --zone=* | --type=* | --version=* | --workdir=* | --bucket=* | --nfs=* | --project=* | \
                --poll=* | --retries=* | --preemptions=* | --crashes=*)
                local flag=${1%%=*}
                flag=${flag#--}
                printf -v "${flag^^}" '%s' "${1#*=}"
                ;;
            --queued) QUEUED=true ;;
            --spot) SPOT=true ;;
            --keep) KEEP=true ;;
            --dry_run) DRY=true ;;
            -h | --help) usage; exit 0 ;;
            --) shift; FLAGS=("$@"); return ;;
            *) fail "unknown flag $1: flags are written --name=value, those of gan_jax.main after --" ;;
        esac
        shift
    done
}

check() {
    local flag value
    for flag in "$@"; do
        value=${flag^^}
        [[ -n ${!value} ]] || fail "--$flag is missing"
    done
    for flag in poll retries preemptions crashes; do
        value=${flag^^}
        [[ ${!value} =~ ^[0-9]+$ ]] || fail "--$flag=${!value} is no count"
    done
    command -v gcloud >/dev/null || $DRY || fail "gcloud is missing: see https://cloud.google.com/sdk/docs/install"
    PLACE=("--zone=$ZONE" --quiet)
    [[ -z $PROJECT ]] || PLACE+=("--project=$PROJECT")
}

check_run() {
    local text=" ${FLAGS[*]-}"
    [[ -n $BUCKET || -n $NFS ]] ||
        fail "--bucket or --nfs is missing: the disk of a TPU goes with it, and all workers must see one workdir"
    [[ -z $BUCKET || -z $NFS ]] || fail "give --bucket or --nfs, not both"
    [[ $WORKDIR != /* && $WORKDIR != *..* ]] || fail "--workdir=$WORKDIR must be relative: it lies in the bucket or share"
    [[ $text != *" --workdir"* ]] || fail "give --workdir before --"
    [[ $text == *" --config="* ]] || fail "--config is missing after --: the flags of gan_jax.main"
    local config=${text#*" --config="}
    config=${config%% *}
    [[ $config == configs/* && -f $ROOT/$config ]] || fail "--config=$config is no file in configs/: put it there"
}

# ---------------------------------------------------------------- gcloud, with bounded patience

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
ERRORS=$SCRATCH/errors

gcloud_once() {
    if $DRY; then
        { printf '+ gcloud' && printf ' %q' "$@" && echo; } >&2
    else
        gcloud "$@" 2>"$ERRORS"
    fi
}

# gcloud, tried again after failures that pass. A thing that exists already, or is gone already, is no failure.
gcloud_often() {
    local try
    for ((try = 1; ; try++)); do
        if gcloud_once "$@"; then return; fi
        case $4 in
            create) if grep -qiE 'already.?exists' "$ERRORS"; then return; fi ;;
            delete) if grep -qiE 'not.?found' "$ERRORS"; then return; fi ;;
            describe) if grep -qiE 'not.?found' "$ERRORS"; then echo NONE && return; fi ;;
        esac
        stop_if_hopeless
        ((try < RETRIES)) || fail "gcloud $3 $4 failed $try times ($(reason)): give the same command again later" 4
        say "gcloud $3 $4 failed ($(reason)); try $((try + 1)) of $RETRIES in $POLL s"
        sleep "$POLL"
    done
}

reason() { { grep -i -m1 error "$ERRORS" || tail -n1 "$ERRORS"; } | cut -c1-300; }

stop_if_hopeless() {
    if grep -qiE 'no more capacity|internal error|unavailable' "$ERRORS"; then
        return
    elif grep -qiE 'active account|reauthenticat|invalid_grant|unauthenticated|gcloud auth' "$ERRORS"; then
        fail "gcloud is not logged in, run gcloud auth login: $(reason)"
    elif grep -qiE 'permission_denied|not have permission|has not been used in project|is disabled' "$ERRORS"; then
        fail "not allowed: enable tpu.googleapis.com in the project and get the role roles/tpu.admin: $(reason)"
    elif grep -qi 'quota' "$ERRORS"; then
        fail "quota exhausted, ask for more or take another --type or --zone: $(reason)"
    elif grep -qiE 'invalid_argument|unrecognized arguments|invalid choice' "$ERRORS"; then
        fail "gcloud refuses the request: $(reason)"
    fi
}

# ---------------------------------------------------------------- the machine

# Sets STATE; NONE = there is no such machine.
look() {
    local kind=tpu-vm field=state
    if $QUEUED; then kind=queued-resources field=state.state; fi
    STATE=$(gcloud_often compute tpus "$kind" describe "$NAME" "${PLACE[@]}" "--format=value($field)")
    if $DRY; then STATE=$ASSUMED; fi
}

create() {
    local what=("--accelerator-type=$TYPE")
    if $SPOT; then what+=(--spot); fi
    ((++CREATED <= PREEMPTIONS + 1)) || fail "$NAME was taken away $PREEMPTIONS times" 4
    say "making $NAME"
    if $QUEUED; then
        gcloud_often compute tpus queued-resources create "$NAME" "${PLACE[@]}" "--node-id=$NAME" \
            "--runtime-version=$VERSION" "${what[@]}"
    else
        gcloud_often compute tpus tpu-vm create "$NAME" "${PLACE[@]}" "--version=$VERSION" "${what[@]}"
    fi
    ASSUMED=READY
}

remove() {
    if $QUEUED; then
        gcloud_often compute tpus queued-resources delete "$NAME" "${PLACE[@]}" --force
    else
        gcloud_often compute tpus tpu-vm delete "$NAME" "${PLACE[@]}"
    fi
}

# Returns when the machine is there, made if need be.
ensure() {
    while :; do
        look
        case $STATE in
            READY | ACTIVE) return ;;
            NONE) create ;;
            PREEMPTED | TERMINATED | SUSPENDED | FAILED)
                say "$NAME is $STATE: deleting what is left, making it again"
                remove
                sleep "$POLL"
                ;;
            STOPPED) fail "$NAME is STOPPED: start it (gcloud compute tpus tpu-vm start) or delete it" ;;
            *) say "waiting: $NAME is $STATE" && sleep "$POLL" ;;
        esac
    done
}

# ---------------------------------------------------------------- the run on it

# A command on worker $1 (or all); ServerAlive ends a connection to a machine that has gone.
on_worker() {
    gcloud_once compute tpus tpu-vm ssh "$NAME" "${PLACE[@]}" "--worker=$1" "--command=$2" \
        --ssh-flag=-oServerAliveInterval=30 --ssh-flag=-oConnectTimeout=30 </dev/null
}

WORKER='bash gan_jax/launch/tpu_worker.sh'

# Sets RUN: absent, running, stopped, lost, or the exit code; fails when a worker does not answer.
ask() {
    local answers answer
    answers=$(on_worker all "$WORKER status 2>/dev/null || echo gan_jax:absent") || return 1
    if $DRY; then answers=gan_jax:$OUTCOME; fi
    answers=$(grep -oE '^gan_jax:[a-z0-9]+' <<<"$answers" | sort -u) || return 1
    for RUN in running absent stopped 2 3 130; do
        if grep -qx "gan_jax:$RUN" <<<"$answers"; then return; fi
    done
    RUN=0
    for answer in $answers; do
        case ${answer#gan_jax:} in
            0) ;;
            143 | lost) if [[ $RUN == 0 ]]; then RUN=lost; fi ;; # told to leave, or rebooted, by the system
            *) RUN=${answer#gan_jax:} ;;
        esac
    done
}

install() {
    local source=nfs:$NFS
    if [[ -n $BUCKET ]]; then source=gs:${BUCKET#gs://}; fi
    say "installing on all workers"
    tar -czf "$SCRATCH/gan_jax.tgz" --exclude=__pycache__ -C "$ROOT" \
        gan_jax configs launch pyproject.toml README.md LICENSE
    gcloud_once compute tpus tpu-vm scp "$SCRATCH/gan_jax.tgz" "$NAME:gan_jax.tgz" "${PLACE[@]}" --worker=all &&
        on_worker all "mkdir -p gan_jax && tar -xzf gan_jax.tgz -C gan_jax && $WORKER install $(printf %q "$source") $SHARED"
}

start() {
    say "starting on all workers"
    on_worker all "$WORKER start$(printf ' %q' "${FLAGS[@]}" "--workdir=$SHARED/$WORKDIR")" && OUTCOME=running
}

# After a command on the workers failed: waits if they are there, makes them again if they were taken away.
trouble() {
    local why
    why=$(reason)
    look
    case $STATE in
        READY | ACTIVE)
            ((++TROUBLES < RETRIES)) ||
                fail "$NAME failed $TROUBLES times ($why); it is kept, and a run on it goes on: give the same command again" 4
            say "$NAME does not do as told ($why); again in $POLL s"
            sleep "$POLL"
            ;;
        NONE | DELETING) say "$NAME was deleted by someone else" && exit 143 ;;
        *) ensure ;;
    esac
}

again() { until install && start; do trouble; done; }

follow() {
    local began=$SECONDS done=true
    on_worker 0 "$WORKER follow" || done=false
    OUTCOME=0
    if ((SECONDS - began > POLL)); then TROUBLES=0; fi
    $done
}

finish() {
    if ((RUN == 0)); then say "done"; else on_worker all "$WORKER tail" || true; fi
    if $KEEP; then say "$NAME is kept, and costs: launch/tpu_vm.sh delete --name=$NAME --zone=$ZONE"; else remove; fi
    exit "$RUN"
}

run() {
    local crashes=0
    ensure
    while :; do
        if ! ask; then
            trouble
            continue
        fi
        case $RUN in
            running)
                if follow; then sleep "$POLL"; else trouble; fi
                ;;
            stopped) say "the run was stopped by a delete; everything is saved" && exit 143 ;;
            0 | 2 | 3) finish ;;
            absent | lost) again ;;
            *)
                ((++crashes <= CRASHES)) || finish
                say "the run ended with code $RUN; starting it again ($crashes of $CRASHES)"
                again
                ;;
        esac
    done
}

leave() { say "left; $NAME goes on and costs: the same command follows it, delete ends it" && exit "$1"; }

main() {
    ((BASH_VERSINFO[0] >= 5)) || fail "bash $BASH_VERSION is too old: 5 or newer"
    # ASSUMED and OUTCOME: what a dry run takes for the machine's state and the run's
    ASSUMED=NONE OUTCOME=absent CREATED=0 TROUBLES=0
    parse "$@"
    if $DRY; then POLL=0; fi
    check name zone
    case $VERB in
        run)
            check type version workdir
            check_run
            trap 'leave 130' INT
            trap 'leave 143' TERM
            run
            ;;
        status)
            look
            echo "$NAME: $STATE"
            [[ $STATE != @(READY|ACTIVE) ]] || on_worker all "$WORKER status"
            ;;
        logs) on_worker 0 "$WORKER follow" ;;
        delete)
            look
            [[ $STATE != @(READY|ACTIVE) ]] || on_worker all "$WORKER stop" || say "the run could not be asked to save"
            [[ $STATE == NONE ]] || remove
            ;;
    esac
}

main "$@"
