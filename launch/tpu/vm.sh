#!/usr/bin/env bash
# Trains on Cloud TPU VMs: every host of the slice runs launch/train.py, and they find each other
# (empg_jax/distributed/hosts.py calls jax.distributed.initialize).
#
#   export ZONE=us-west4-a BUCKET=gs://my-bucket
#   launch/tpu/vm.sh create     queues a request for the slice
#   launch/tpu/vm.sh install    copies the commit of this folder to every host, with Python and JAX
#   launch/tpu/vm.sh train      checks the slice (launch/check.py) and starts the run; once more after
#                               an interruption, it goes on
#   launch/tpu/vm.sh log        follows it
#   launch/tpu/vm.sh delete     gives the slice back
#
# BUCKET is in the slice's region, and the slice's service account may read and write it. There are
#   models/qwen2.5-7b      hf download Qwen/Qwen2.5-7B-Instruct --local-dir qwen2.5-7b
#                          gcloud storage cp --recursive qwen2.5-7b $BUCKET/models/
#   alfworld/json_2.1.1    the official games
#   webshop                WebShop's own files, for configs/webshop.py
# and the first host keeps the run there, under runs/. What a run takes of a slice, launch/plan.py
# tells before.
set -euo pipefail
cd "$(dirname "$0")/../.."

NAME=${NAME:-empg}
TYPE=${TYPE:-v5litepod-64}               # v5e:8x8; v5p:4x4x4 is v5p-128, counted in cores
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}  # v5p: v2-alpha-tpuv5; v6e: v2-alpha-tpuv6e
: "${ZONE:?is not set: a zone that has the chips, as us-west4-a}"

on_hosts() {  # WHICH COMMAND
  gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

case "${1:-}" in
  create)
    gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \
      --accelerator-type="$TYPE" --runtime-version="$RUNTIME"
    ;;
  install)
    archive=$(mktemp --suffix=.tar.gz)
    git archive --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$NAME:empg_jax.tar.gz" --zone="$ZONE" --worker=all
    rm "$archive"
    on_hosts all "set -e
      mkdir -p empg_jax
      tar xzf empg_jax.tar.gz -C empg_jax
      cd empg_jax
      python3 -m pip install --user uv
      python3 -m uv venv --allow-existing --python 3.11 .venv
      python3 -m uv pip install --requirement requirements.txt --editable '.[tpu,gcs]'"
    ;;
  train)
    : "${BUCKET:?is not set: a bucket, as gs://my-bucket}"
    on_hosts all "cd empg_jax
      export ALFWORLD_DATA=$BUCKET/alfworld WEBSHOP_DATA=$BUCKET/webshop
      nohup bash -c '.venv/bin/python launch/check.py \"\$@\" && exec .venv/bin/python launch/train.py \"\$@\"' - \
        --config=configs/alfworld.py:qwen2.5-7b \
        --config.model.path=$BUCKET/models/qwen2.5-7b \
        --workdir=$BUCKET/runs/$NAME >../train.log 2>&1 </dev/null &"
    ;;
  log)
    on_hosts 0 "tail -n 100 -f train.log"
    ;;
  delete)
    gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force
    ;;
  *)
    echo "usage: launch/tpu/vm.sh create|install|train|log|delete" >&2
    exit 2
    ;;
esac
