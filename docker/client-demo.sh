#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What an application container does, with the digits as its application: waits for the daemon, loads its network,
# classifies, and begins again when the daemon has gone. One round every CLIENT_DEMO_PAUSE seconds.
set -u
digits=/opt/aws/neuron/digits
pause=${CLIENT_DEMO_PAUSE:-2}

neuron-cc compile "$digits/digits.onnx" --framework ONNX --output /tmp/digits.neff || exit 1
while true; do
  echo "waiting for $NEURON_RTD_ADDRESS"
  until neuron-cli wait-ready --timeout 60; do :; done
  model=$(neuron-cli load --json /tmp/digits.neff | sed -n 's/.*"model_id": *\([0-9][0-9]*\).*/\1/p')
  if [ -z "$model" ]; then
    sleep "$pause"
    continue
  fi
  echo "loaded model $model"
  while digits-demo --model-id "$model" --images "$digits/images.npy" --labels "$digits/labels.npy" >/tmp/round; do
    tail -n 1 /tmp/round
    sleep "$pause"
  done
  echo "the network has gone"
done
