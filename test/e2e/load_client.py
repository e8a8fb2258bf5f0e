#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that go on asking a model server until SIGTERM, each on a connection of its own, and count what fails.

    test/e2e/load_client.py --address HOST:PORT [--clients 4] [--timeout 5] [--retry]

They wait for no connection longer than gRPC does by itself. --retry waits, and repeats a request that the connection's end has cut
off, as a client does that wants to lose none. When the first has been answered a line says so, and at the end:

    3200 requests, 0 failed, the longest took 1.3 s
"""

import argparse
import collections
import json
import pathlib
import signal
import sys
import threading
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "demo"))
import client as demo  # noqa: E402

PREDICT = "/tensorflow.serving.PredictionService/Predict"
RETRY = json.dumps({"methodConfig": [{
    "name": [{"service": "tensorflow.serving.PredictionService"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"]}}]})


class Counts:
    def __init__(self):
        self.lock = threading.Lock()
        self.requests = 0
        self.longest = 0.0
        self.failures = collections.Counter()

    def add(self, seconds, failure):
        with self.lock:
            if self.requests == 0:
                print("asking", flush=True)
            self.requests += 1
            self.longest = max(self.longest, seconds)
            if failure:
                self.failures[failure] += 1


def ask(arguments, messages, request, counts, ending):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1000)]
    if arguments.retry:
        options.append(("grpc.service_config", RETRY))
    with grpc.insecure_channel(arguments.address, options=options) as channel:
        predict = channel.unary_unary(PREDICT, request_serializer=request.__class__.SerializeToString,
                                      response_deserializer=messages.PredictResponse.FromString)
        while not ending.is_set():
            start = time.monotonic()
            failure = None
            try:
                if "logits" not in predict(request, timeout=arguments.timeout, wait_for_ready=arguments.retry).outputs:
                    failure = "an answer without logits"
            except grpc.RpcError as error:
                failure = f"{error.code().name}: {error.details()}"
                print(f"{time.strftime('%H:%M:%S')} after {time.monotonic() - start:.1f} s: {failure}", flush=True)
                ending.wait(0.1)
            counts.add(time.monotonic() - start, failure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", default="bert_mrpc_hc_gelus_b4_l24_0926_02")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=5, help="seconds for a request")
    parser.add_argument("--retry", action="store_true")
    arguments = parser.parse_args()
    framework, messages = demo.load_messages()
    request = demo.make_request(framework, messages, arguments.model)
    counts, ending = Counts(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    signal.signal(signal.SIGINT, lambda *_: ending.set())
    threads = [threading.Thread(target=ask, args=(arguments, messages, request, counts, ending))
               for _ in range(arguments.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure, count in counts.failures.most_common(5):
        print(f"{count} x {failure}")
    print(f"{counts.requests} requests, {sum(counts.failures.values())} failed, the longest took {counts.longest:.1f} s")


if __name__ == "__main__":
    main()
