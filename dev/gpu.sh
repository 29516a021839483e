#!/bin/sh
# The two commands for a machine with one GPU that is there for minutes: train, then measure.
#
#     dev/gpu.sh train    # 9 minutes and a half, all included; writes to $OUT as it goes
#     dev/gpu.sh measure  # two minutes
#     dev/gpu.sh dry-run  # every line of both on a CPU, with a tiny batch, in minutes: before the machine is there
#
# Environment: OUT, the folder for results [runs/gpu]; DATA, training images [shared/data/train/train-0*.tar]; VAL [shared/
# data/train/val.tar]; INIT, what to start from: swin, or run:FOLDER with the files that the last run left in $OUT;
# TIME [9m30s]; MORE, further options, as --grow JSON; PYTHON [python]; TUNE [psnr]: for psnr, decoder and context model
# learn on searched tokens, and the encoder stays; for ssimulacra2, all of the model is trained.
#
# $OUT gets average-*.safetensors of at most 16 MB, average.json, log.jsonl and curve.svg, anew every minute: a run that
# is cut off loses that minute. The checkpoint, which is larger, stays in CHECKPOINT [/tmp]; RESUME=1 goes on from it.
set -eu
cd "$(dirname "$0")/.."
OUT=${OUT:-runs/gpu} PYTHON=${PYTHON:-python} VAL=${VAL:-shared/data/train/val.tar}
DATA=${DATA:-$(echo shared/data/train/train-0*.tar)}
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1

train() {
    case ${TUNE:-psnr} in
    psnr) kind="--fixed-encoder --refined --refined-share 0.7 --searching 0.25 --pool 8192" ;;
    *) kind="--tune $TUNE --relative --prices swin --rate gains=10" ;;
    esac
    # $DATA, $kind, $MORE: several words
    # shellcheck disable=SC2086
    "$PYTHON" -m vitcodec train $DATA --val "$VAL" -o "$OUT" --init "${INIT:-swin}" --time-limit "${TIME:-9m30s}" \
        --checkpoint "${CHECKPOINT:-/tmp/vitcodec-checkpoint.safetensors}" ${RESUME:+--resume} \
        $kind --scales 1,1,1.25,1.6 --colours 0.5 --lr 2e-4 --average 0.9995 --batch 96 \
        --val-crops 32 --validate-every 5m --precision bfloat16 ${MORE:-}
}

case ${1:-} in
train) train ;;
measure) "$PYTHON" -m benchmarks gpu --device cuda --results "$OUT" ;;
dry-run)
    # later options win: a CPU in float32, crops that take it seconds. First to the end, then on from what was written
    export OUT="${OUT}-dry" CHECKPOINT="${OUT}-dry/checkpoint.safetensors"
    rm -rf "$OUT"
    small="--batch 2 --crop 64 --pool 4 --device cpu --precision float32 --threads 1 --val-crops 1 --validate-every 20s"
    grow='--grow {"transform":{"synthesis":[1,3,2,9]},"context":{"extra_blocks":[0,1,2,3]}}'
    TIME=${TIME:-2m} MORE="$small $grow" train
    TIME=${LONGER:-3m} MORE="$small $grow" RESUME=1 train
    INIT="run:$OUT" OUT="$OUT/next" CHECKPOINT="$CHECKPOINT.next" TIME=${TIME:-1m} MORE="$small --steps 2" train
    "$PYTHON" -m benchmarks gpu --device cuda --results "$OUT" || echo "no card: not measured"
    ;;
*) echo "usage: dev/gpu.sh train | measure | dry-run" >&2; exit 2 ;;
esac
