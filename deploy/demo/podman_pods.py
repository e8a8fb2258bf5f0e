#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The published service as pods for `podman play kube`, on standard output: what Kubernetes, the device plugin and the
demonstration's overlay would do to it is done here, and nothing else.

    deploy/demo/podman_pods.py --s3 ADDRESS --certificate FILE --instance inf1.6xlarge deploy/kubernetes/eks/bert_service.yml

A replica is a pod: eks-neuron-test-0 with device 0, eks-neuron-test-1 with device 1. Needs Debian's python3-yaml.
"""

import argparse
import copy
import sys

import yaml

BUCKET_HOST = "jsimon-inf1-demo.s3.amazonaws.com"
IMAGES = {"inf1-demo": "localhost/tensorflow-model-server-neuron:latest", "neuron-rtd": "localhost/neuron-rtd:latest"}


def local_image(name):
    for part, image in IMAGES.items():
        if f"/{part}:" in name:
            return image
    sys.exit(f"podman_pods.py: no image is known for {name}")


def pod(deployment, number, arguments):
    template = copy.deepcopy(deployment["spec"]["template"])
    spec = template["spec"]
    # The overlay: images, how the pod finds the S3 server.
    spec["hostAliases"] = [{"ip": arguments.s3, "hostnames": [BUCKET_HOST]}]
    spec["volumes"].append({"name": "s3-certificate", "hostPath": {"path": arguments.certificate, "type": "File"}})
    # podman's emptyDir is a volume of that name, which pods would share.
    for volume in [*spec["volumes"], *(mount for container in spec["containers"] for mount in container["volumeMounts"])]:
        if volume["name"] == "sock":
            volume["name"] = f"eks-sock-{number}"
    for container in spec["containers"]:
        container["image"] = local_image(container["image"])
        container["imagePullPolicy"] = "Never"
        # There is no service in front of the replicas: their ports are the machine's, the second one's one higher.
        for port in container.get("ports", []):
            port["hostPort"] = port["containerPort"] + number
        limits = container["resources"]["limits"]
        # podman knows no devices and no huge pages; CPU requests would fill the machine, as in the overlay.
        limits.pop("hugepages-2Mi", None)
        container["resources"].get("requests", {}).pop("cpu", None)
        if limits.pop("aws.amazon.com/neuron", 0):
            # What the device plugin's Allocate sets.
            container["env"] = [{"name": "AWS_NEURON_VISIBLE_DEVICES", "value": str(number)},
                                {"name": "NEURON_RTD_SIM", "value": arguments.instance}]
        else:
            container["env"].append({"name": "AWS_CA_BUNDLE", "value": "/etc/s3/certificate.pem"})
            container["volumeMounts"].append({"name": "s3-certificate", "mountPath": "/etc/s3/certificate.pem"})
    labels = template["metadata"]["labels"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"eks-neuron-test-{number}", "labels": labels},
            "spec": spec}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--s3", required=True, help="the S3 server's address")
    parser.add_argument("--certificate", required=True, help="its certificate")
    parser.add_argument("--instance", default="inf1.6xlarge", help="what is simulated")
    parser.add_argument("manifest")
    arguments = parser.parse_args()
    with open(arguments.manifest, encoding="utf-8") as file:
        deployment = next(document for document in yaml.safe_load_all(file) if document["kind"] == "Deployment")
    pods = [pod(deployment, number, arguments) for number in range(deployment["spec"]["replicas"])]
    yaml.safe_dump_all(pods, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
