#!/bin/sh
# Trains on live traffic again, or promotes what was trained: for cron, systemd, a Kubernetes CronJob.
#
#   retrain.sh train     read the topic back, train from the champion on, publish as shadow
#   retrain.sh promote   some hours later: make the shadow champion, if the gate lets it
#
# Everything comes from the environment; docs/retraining.md explains each:
#
#   ANOEAN_CONFIG          config.yaml: brokers, registry, topics, training
#   RETRAIN_MODEL          name of the model                          [anoean]
#   RETRAIN_TOPIC          topic to read back                         [flows]
#   RETRAIN_SINCE          from when on                               [7d]
#   RETRAIN_LABELS         file, or topic:NAME                        (needed to train)
#   RETRAIN_NORMAL_VALUE   what a label says of normal records        (needed to train)
#   RETRAIN_ID_FIELD       field by which labels name a record        [none]
#   RETRAIN_BASE           labelled file whose rows are added         [none]
#   RETRAIN_LABEL_COLUMN   its column of the label, and of labels     [label]
#   RETRAIN_ATTACK_COLUMN  column with the kind of attack             [none]
#   RETRAIN_WARM_START     version to begin from; empty: from nothing [champion]
#   RETRAIN_ALIAS          alias of the candidate                     [shadow]
#   RETRAIN_SIGN_KEY       private key that signs the candidate       [none]
#   RETRAIN_WAIT           how long the gate waits for shadow reports [6h]; empty: not at all
#   RETRAIN_DIR            lock, checkpoint                           [/var/lib/anoean/retrain]
#   RETRAIN_LOG_DIR        one log file for each run; empty: stdout   [empty]
#   RETRAIN_LOG_DAYS       older log files are removed                [90]
#
# Exit codes: those of anoean (2 settings or data, 3 registry, or refused by the gate, 4 brokers),
# 64 for a wrong call, 69 when something that is needed is missing, 75 when a run is in progress.

set -eu

step=${1:-}
: "${RETRAIN_MODEL:=anoean}"
: "${RETRAIN_TOPIC:=flows}"
: "${RETRAIN_SINCE:=7d}"
: "${RETRAIN_LABEL_COLUMN:=label}"
: "${RETRAIN_ALIAS:=shadow}"
: "${RETRAIN_DIR:=/var/lib/anoean/retrain}"
: "${RETRAIN_LOG_DAYS:=90}"
RETRAIN_WARM_START=${RETRAIN_WARM_START-champion} # empty is an answer: from nothing
RETRAIN_WAIT=${RETRAIN_WAIT-6h}                   # empty is an answer: not at all

say() {
    printf '%s retrain.sh %s: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$step" "$*"
}

fail() {
    code=$1
    shift
    say "$*" >&2
    exit "$code"
}

run() {
    say "$*"
    code=0
    "$@" || code=$?
    [ "$code" -eq 0 ] || fail "$code" "ended with exit code $code"
}

train() {
    [ -n "${RETRAIN_LABELS:-}" ] || fail 64 "RETRAIN_LABELS is not set; give a file, or topic:NAME"
    [ -n "${RETRAIN_NORMAL_VALUE:-}" ] || fail 64 "RETRAIN_NORMAL_VALUE is not set; give the label of normal records"
    set -- train --name "$RETRAIN_MODEL" --from-topic "$RETRAIN_TOPIC" --since "$RETRAIN_SINCE" \
        --labels "$RETRAIN_LABELS" --normal-value "$RETRAIN_NORMAL_VALUE" \
        --label-column "$RETRAIN_LABEL_COLUMN" --publish-as "$RETRAIN_ALIAS"
    [ -z "${RETRAIN_ID_FIELD:-}" ] || set -- "$@" --id-field "$RETRAIN_ID_FIELD"
    [ -z "${RETRAIN_BASE:-}" ] || set -- "$@" --data "$RETRAIN_BASE"
    [ -z "${RETRAIN_ATTACK_COLUMN:-}" ] || set -- "$@" --attack-column "$RETRAIN_ATTACK_COLUMN"
    [ -z "$RETRAIN_WARM_START" ] || set -- "$@" --warm-start "$RETRAIN_WARM_START"
    run anoean "$@"
    [ -z "${RETRAIN_SIGN_KEY:-}" ] \
        || run anoean models sign "$RETRAIN_MODEL" "$RETRAIN_ALIAS" --key "$RETRAIN_SIGN_KEY"
    say "$RETRAIN_ALIAS names the new version; promote it when workers have compared it for some hours"
}

promote() {
    set -- models promote "$RETRAIN_MODEL" "$RETRAIN_ALIAS"
    [ -z "$RETRAIN_WAIT" ] || set -- "$@" --wait "$RETRAIN_WAIT"
    run anoean "$@"
}

case $step in
train | promote) ;;
*) fail 64 "expected train or promote, got '$step'" ;;
esac
for tool in anoean flock; do
    command -v "$tool" >/dev/null || fail 69 "$tool is not installed, or not on PATH ($PATH)"
done
mkdir -p "$RETRAIN_DIR" || fail 69 "cannot make $RETRAIN_DIR; set RETRAIN_DIR to a folder of your own"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$RETRAIN_DIR/cache}" # the checkpoint
export MPLCONFIGDIR="${MPLCONFIGDIR:-$RETRAIN_DIR/cache/matplotlib}"

if [ -n "${RETRAIN_LOG_DIR:-}" ]; then
    mkdir -p "$RETRAIN_LOG_DIR" || fail 69 "cannot make $RETRAIN_LOG_DIR"
    find "$RETRAIN_LOG_DIR" -name "$RETRAIN_MODEL-*.log" -mtime "+$RETRAIN_LOG_DAYS" -exec rm -f {} +
    exec >>"$RETRAIN_LOG_DIR/$RETRAIN_MODEL-$step-$(date -u +%Y%m%dT%H%M%SZ).log" 2>&1
fi

# One lock for both steps: a candidate that is being judged must not be replaced by another one.
exec 9>"$RETRAIN_DIR/$RETRAIN_MODEL.lock"
flock -n 9 || fail 75 "another run for $RETRAIN_MODEL is in progress ($RETRAIN_DIR/$RETRAIN_MODEL.lock)"

"$step"
say "done"
