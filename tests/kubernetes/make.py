"""Makes schemas.json, what objects of Kubernetes may hold, from files of three projects: python3 make.py SWAGGER CRD... > schemas.json

SWAGGER: api/openapi-spec/swagger.json of Kubernetes. CRD: the definitions of KEDA's and the Prometheus Operator's own kinds. What is left out: kinds
that docker/kubernetes does not use, descriptions, `status`. What is added: a field that is not known is a mistake, as for kubectl.
"""

import json
import sys

import yaml

KINDS = ["api.apps.v1.Deployment", "api.batch.v1.Job", "api.core.v1.Service", "api.core.v1.ConfigMap", "api.policy.v1.PodDisruptionBudget",
         "api.autoscaling.v2.HorizontalPodAutoscaler", "api.networking.v1.NetworkPolicy"]
# Their schemas say less than their descriptions.
LAX = {"apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"], "pattern": r"^[0-9.]+([mkMG]|[KMG]i)?$"},
       "apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]}}


def short(name):
    return name.rpartition("io.k8s.")[2]


def strip(node, need, top=False):
    """A copy of a schema without what is left out; need(NAME) is called for each definition that it refers to."""
    if isinstance(node, list):
        return [strip(one, need) for one in node]
    if not isinstance(node, dict):
        return node
    copy = {}
    for key, value in node.items():
        if key == "properties":
            copy[key] = {name: strip(one, need) for name, one in value.items() if not (top and name == "status") and name != "managedFields"}
            copy["additionalProperties"] = False
        elif key == "$ref":
            need(value.rpartition("/")[2])
            copy[key] = "#/definitions/" + short(value)
        elif key != "description" and not key.startswith("x-"):
            copy[key] = strip(value, need)
    return copy


def main(swagger, *crds):
    with open(swagger) as file:
        theirs = json.load(file)["definitions"]
    ours, kinds = {}, {}

    def need(name):
        if short(name) not in ours:
            ours[short(name)] = LAX.get(short(name))
            if ours[short(name)] is None:
                ours[short(name)] = strip(theirs[name], need, top="x-kubernetes-group-version-kind" in theirs[name])

    for kind in KINDS:
        need("io.k8s." + kind)
        group, version, name = kind.removeprefix("api.").split(".")
        dotted = {"apps": "apps/", "batch": "batch/", "core": "", "networking": "networking.k8s.io/"}.get(group, group + "/")
        kinds[f"{dotted}{version} {name}"] = {"$ref": f"#/definitions/{kind}"}
    for crd in crds:
        with open(crd) as file:
            spec = yaml.safe_load(file)["spec"]
        for version in spec["versions"]:
            schema = strip(version["schema"]["openAPIV3Schema"], need, top=True)
            schema["properties"]["metadata"] = {"$ref": "#/definitions/apimachinery.pkg.apis.meta.v1.ObjectMeta"}
            need("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
            kinds[f"{spec['group']}/{version['name']} {spec['names']['kind']}"] = schema
    lines = lambda named: ",\n".join(f"{json.dumps(name)}: {json.dumps(one, separators=(',', ':'))}" for name, one in sorted(named.items()))
    print(f'{{"kinds": {{\n{lines(kinds)}\n}},\n"definitions": {{\n{lines(ours)}\n}}}}')


if __name__ == "__main__":
    main(*sys.argv[1:])
