#!/usr/bin/env bash
# Trains on a cluster that xpk made (pip install xpk), on a slice of v5e:8x8. xpk writes the
# JobSet; its pods find each other (empg_jax/distributed/hosts.py calls jax.distributed.initialize).
#
#   export PROJECT=... ZONE=us-west4-a CLUSTER=... IMAGE=... BUCKET=gs://my-bucket
#   launch/tpu/xpk.sh train      checks the slice (launch/check.py) and starts the run, or goes on
#
# IMAGE is of launch/tpu/Dockerfile. BUCKET holds models/qwen2.5-7b, alfworld/json_2.1.1 and webshop,
# and the run under runs/; the cluster's service account may read and write it.
# Two slices: --num-slices=2, and --config.mesh.data=2 --config.train.size=32
# --config.train.minibatches=4 behind --config.
set -euo pipefail

NAME=${NAME:-empg}
: "${PROJECT:?is not set}" "${ZONE:?is not set}" "${CLUSTER:?is not set}"
cluster=(--project="$PROJECT" --zone="$ZONE" --cluster="$CLUSTER")

case "${1:-}" in
  train)
    : "${BUCKET:?is not set: a bucket, as gs://my-bucket}"
    xpk workload create "${cluster[@]}" --workload="$NAME" --tpu-type=v5litepod-64 \
      --num-slices=1 --docker-image="${IMAGE:?is not set}" --max-restarts=20 \
      --env="ALFWORLD_DATA=$BUCKET/alfworld" --env="WEBSHOP_DATA=$BUCKET/webshop" \
      --command="bash -c 'python launch/check.py \"\$@\" && exec python launch/train.py \"\$@\"' - \
        --config=configs/alfworld.py:qwen2.5-7b \
        --config.model.path=$BUCKET/models/qwen2.5-7b \
        --workdir=$BUCKET/runs/$NAME"
    ;;
  *)
    echo "usage: launch/tpu/xpk.sh train" >&2
    exit 2
    ;;
esac
