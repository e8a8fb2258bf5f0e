#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The published client: 100 Predict requests of zeros [1, 128], and their average.

    deploy/demo/client.py [--address HOST:PORT] [--model NAME] [--count 100] [--timeout SECONDS] [--patience SECONDS]

Needs Debian's python3-grpcio and python3-protobuf, and protoc for the messages of proto/.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc

PUBLISHED_SECONDS = 0.05920819044113159
ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_messages():
    """The modules that protoc makes of proto/tensorflow and proto/tensorflow_serving."""
    with tempfile.TemporaryDirectory() as folder:
        protos = [str(path.relative_to(ROOT)) for name in ("tensorflow", "tensorflow_serving")
                  for path in sorted((ROOT / "proto" / name).glob("*.proto"))]
        subprocess.run(["protoc", f"--proto_path={ROOT}", f"--python_out={folder}", *protos], check=True)
        sys.path.insert(0, folder)
        from proto.tensorflow import framework_pb2
        from proto.tensorflow_serving import apis_pb2
        sys.path.pop(0)
        return framework_pb2, apis_pb2


def make_request(framework_pb2, apis_pb2, model):
    request = apis_pb2.PredictRequest()
    request.model_spec.name = model
    for name in ("input_ids", "input_mask", "segment_ids"):
        tensor = request.inputs[name]
        tensor.dtype = framework_pb2.DT_INT32
        for size in (1, 128):
            tensor.tensor_shape.dim.add().size = size
        tensor.int_val.append(0)  # which stands for all of them
    return request


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="127.0.0.1:9000")
    parser.add_argument("--model", default="bert_mrpc_hc_gelus_b4_l24_0926_02")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for a request")
    parser.add_argument("--patience", type=float, default=300, help="seconds for the model to be there")
    arguments = parser.parse_args()

    framework_pb2, apis_pb2 = load_messages()
    request = make_request(framework_pb2, apis_pb2, arguments.model)
    channel = grpc.insecure_channel(arguments.address)
    predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict",
                                  request_serializer=apis_pb2.PredictRequest.SerializeToString,
                                  response_deserializer=apis_pb2.PredictResponse.FromString)
    # The first request may have to wait for the model to be loaded.
    predict(request, timeout=arguments.patience, wait_for_ready=True)
    latencies = []
    for i in range(arguments.count):
        start = time.time()
        try:
            predict(request, timeout=arguments.timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            sys.exit(f"request {i} failed: {error.code().name}: {error.details()}")
        latencies.append(time.time() - start)
        print(f"Inference successful: {i}", end="\r" if sys.stdout.isatty() else "\n", flush=True)
    average = sum(latencies) / len(latencies)
    print(f"Ran {len(latencies)} inferences successfully.Latency average = {average}")
    print(f"Published for a real Inferentia:              Latency average = {PUBLISHED_SECONDS}")


if __name__ == "__main__":
    main()
