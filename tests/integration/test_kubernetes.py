"""docker/kubernetes: objects that a cluster would take, that fit each other and the image, and whose commands run."""

import json
import re
import subprocess

import jsonschema
import pytest
import yaml

from lib.deployed import ROOT, default_of, redis_with_user, secrets
from lib.metrics import Served
from lib.process import free_port, wait_for

FOLDER = ROOT / "docker/kubernetes"
SCHEMAS = json.loads((ROOT / "tests/kubernetes/schemas.json").read_text())
SECRETS = "/run/secrets/drover/"
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yml").read_text())


def objects():
    """(kind, name): object, of all files."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if path.name != "kustomization.yaml":
                assert (one["kind"], one["metadata"]["name"]) not in found
                found[one["kind"], one["metadata"]["name"]] = one
    return found


OBJECTS = objects()
PODS = {name: one["spec"]["template"] for (kind, name), one in OBJECTS.items() if kind in ("Deployment", "Job")}
WORKER = PODS["drover-worker"]


def rules():
    return subprocess.run([FOLDER / "rules.sh"], check=True, capture_output=True, text=True, cwd="/").stdout


def check(one):
    """As kubectl and the API server do: an object of this kind, with fields that there are, of the right types."""
    schema = {**SCHEMAS["kinds"][f"{one['apiVersion']} {one['kind']}"], "definitions": SCHEMAS["definitions"]}
    jsonschema.Draft4Validator(schema).validate(one)


@pytest.mark.parametrize("key", OBJECTS, ids=" ".join)
def test_each_object_is_one_that_its_schema_allows(key):
    check(OBJECTS[key])


def test_the_check_finds_mistakes():
    for break_it in (lambda spec: spec.update(terminationGracePeriod=30), lambda spec: spec.pop("containers"),
                     lambda spec: spec["containers"][0].update(command="drover-worker"),
                     lambda spec: spec["containers"][0]["resources"]["limits"].update(memory="256 MB")):
        one = json.loads(json.dumps(OBJECTS["Deployment", "drover-worker"]))
        break_it(one["spec"]["template"]["spec"])
        with pytest.raises(jsonschema.ValidationError):
            check(one)


def test_the_rules_are_those_of_prometheus():
    rule = yaml.safe_load(rules())
    check(rule)
    assert rule["spec"] == yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text())


def test_what_is_applied_together_is_in_files_that_are_there():
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert all((FOLDER / name).is_file() for name in kustomization["resources"])
    page = (ROOT / "docs/kubernetes.md").read_text()
    for path in FOLDER.iterdir():
        assert path.name in page or path.name in kustomization["resources"], f"nobody says what {path.name} is for"
    version = re.search(r"^project\(drover VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)[1]
    (image,) = kustomization["images"]
    assert image["newTag"] == version
    for pod in PODS.values():
        assert [c["image"] for c in pod["spec"]["containers"]] == [f"{image['name']}:{version}"]


def test_the_page_sets_the_image_and_the_secrets_that_the_pods_need():
    page = (ROOT / "docs/kubernetes.md").read_text()
    (image,) = re.findall(r"\./dev image (\S+)`", page)
    command = re.search(r"^(sed .*) \| kubectl apply -f -$", page, re.MULTILINE)[1]
    job = yaml.safe_load(subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert [c["image"] for c in job["spec"]["template"]["spec"]["containers"]] == [image]
    wanted = {v["value"].removeprefix(SECRETS) for pod in PODS.values() for c in pod["spec"]["containers"] for v in c["env"] if v["name"].endswith("_FILE")}
    assert set(re.findall(r"--from-file=(\S+_password)", page)) == wanted


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_as_little_as_the_image_needs(name):
    pod = PODS[name]["spec"]
    user = int(re.search(r"^USER (\d+)", DOCKERFILE, re.MULTILINE)[1])
    about = pod["securityContext"]
    assert about["runAsNonRoot"] and about["runAsUser"] == about["runAsGroup"] == about["fsGroup"] == user
    assert about["seccompProfile"] == {"type": "RuntimeDefault"} and pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert "memory" in container["resources"]["limits"] and {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert all(mount["readOnly"] for mount in container["volumeMounts"])


@pytest.mark.parametrize("name", PODS)
def test_what_a_pod_refers_to_is_there(name):
    pod = PODS[name]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secrets"]["secret"]["secretName"] == "drover"
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440, "the group reads them: fsGroup"
    files = set(COMPOSE["secrets"])
    for container in pod["containers"]:
        for mount in container["volumeMounts"]:
            volumes.pop(mount["name"])
        assert all(OBJECTS["ConfigMap", one["configMapRef"]["name"]] for one in container["envFrom"])
        for variable in container["env"]:
            if variable["name"].endswith("_FILE"):
                assert variable["value"].startswith(SECRETS) and variable["value"].removeprefix(SECRETS) in files
                assert variable["name"] in COMPOSE["x-drover"]["environment"]
        ports = {port["name"] for port in container.get("ports", [])}
        assert ports == ({"metrics"} if "livenessProbe" in container else set())
        for probe in ("livenessProbe", "readinessProbe"):
            assert not ports or container[probe]["httpGet"]["port"] in ports
    assert not volumes, "a volume that nobody mounts"


def matches(selector, labels):
    return selector.items() <= labels.items()


def test_selectors_find_their_pods_and_no_others():
    labels = {name: pod["metadata"]["labels"] for name, pod in PODS.items()}
    found = lambda selector: {name for name in labels if matches(selector, labels[name])}
    producers = {name for kind, name in OBJECTS if kind == "Job"}
    for (kind, name), one in OBJECTS.items():
        if kind in ("Deployment", "PodDisruptionBudget"):
            assert found(one["spec"]["selector"]["matchLabels"]) == {name}
        if kind == "Service":
            assert found(one["spec"]["selector"]) == {name} and one["spec"]["ports"][0]["targetPort"] == "metrics"
    spread = WORKER["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert found(spread) == {"drover-worker"}
    assert found(OBJECTS["NetworkPolicy", "drover"]["spec"]["podSelector"]["matchLabels"]) == set(PODS)
    assert OBJECTS["NetworkPolicy", "drover"]["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    monitor = OBJECTS["PodMonitor", "drover"]["spec"]
    (only,) = monitor["selector"]["matchExpressions"]
    assert {name for name in found(monitor["selector"]["matchLabels"]) if labels[name][only["key"]] in only["values"]} == set(PODS) - producers
    assert monitor["podMetricsEndpoints"][0]["port"] == "metrics"


def test_who_scales_scales_the_workers_by_a_rule_that_there_is():
    keda, hpa = OBJECTS["ScaledObject", "drover-worker"]["spec"], OBJECTS["HorizontalPodAutoscaler", "drover-worker"]["spec"]
    assert keda["scaleTargetRef"]["name"] == hpa["scaleTargetRef"]["name"] == "drover-worker"
    assert "replicas" not in OBJECTS["Deployment", "drover-worker"]["spec"], "each apply would undo the scaling"
    (trigger,) = keda["triggers"]
    records = {rule["record"] for group in yaml.safe_load(rules())["spec"]["groups"] for rule in group["rules"] if "record" in rule}
    assert trigger["metadata"]["query"] in records
    assert hpa["metrics"][0]["external"]["metric"]["name"] == trigger["metadata"]["query"].replace(":", "_")
    assert hpa["metrics"][0]["external"]["target"]["averageValue"] == trigger["metadata"]["threshold"]
    assert hpa["maxReplicas"] == keda["maxReplicaCount"]


def test_a_drain_fits_into_the_time_that_a_pod_and_a_container_have_to_end():
    drain_s = int(default_of("--drain-timeout"))
    assert drain_s < WORKER["spec"]["terminationGracePeriodSeconds"] <= 2 * drain_s
    assert drain_s < int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s")) <= 2 * drain_s


# --- the commands, for real ---


@pytest.fixture
def start(pg, drover):
    """Starts a pod's container as the manifest says: its command, its environment, its secrets. Only the addresses are other ones."""
    passwords = secrets(drover.dir)
    with redis_with_user((passwords / "redis_password").read_text()) as redis:
        listen = re.search(r"DROVER_METRICS_LISTEN=\S+:(\d+)", DOCKERFILE)
        servers = {"DATABASE_URL": pg.url, "REDIS_URL": redis.url}

        def start(name):
            (container,) = PODS[name]["spec"]["containers"]
            env = dict(OBJECTS["ConfigMap", "drover"]["data"])
            assert env.keys() == servers.keys()
            env.update(servers)
            for variable in container["env"]:
                value = variable.get("value", f"{name}-abc")
                env[variable["name"]] = value.replace(SECRETS, f"{passwords}/")
            for port in container.get("ports", []):
                assert port["containerPort"] == int(listen[1])
                env["DROVER_METRICS_LISTEN"] = f"127.0.0.1:{free_port()}"
            program, *arguments = container["command"]
            return container, drover.popen(*arguments, program=program, env=env)

        yield start


def test_what_the_manifests_start_migrates(pg, drover, start):
    pg.sql("CREATE TABLE people (id int PRIMARY KEY, full_name text, first_name text);"
           "INSERT INTO people SELECT g, 'Ada Lovelace' FROM generate_series(1, 2000) g")
    served = {}
    for name in ("drover-worker", "drover-exporter"):
        container, process = start(name)
        served[name] = Served(process), container
    server, container = served["drover-worker"]
    assert server.get(container["livenessProbe"]["httpGet"]["path"])[0] == 200
    (job,) = PODS.keys() - served.keys()
    (container,) = PODS[job]["spec"]["containers"]
    file = container["command"][2]
    (drover.dir / file).write_text((ROOT / "docker/migrations" / file).read_text())
    start(job)[1].wait(rc=0)
    assert pg.value("SELECT count(*) FROM people WHERE first_name = 'Ada'") == 2000
    assert pg.sql("SELECT name FROM drover.workers") == [("drover-worker-abc",)]
    for server, container in served.values():
        for probe in ("livenessProbe", "readinessProbe"):
            wait_for(lambda: server.get(container[probe]["httpGet"]["path"])[0] == 200, lambda: f"{probe}: {server.get('/readyz')}")


def test_a_producer_that_is_ended_is_begun_again_and_one_that_failed_is_not(pg, drover, start):
    pg.sql("CREATE TABLE people (id int PRIMARY KEY, full_name text, first_name text)")
    (job,) = (name for kind, name in OBJECTS if kind == "Job")
    (container,) = PODS[job]["spec"]["containers"]
    file = drover.dir / container["command"][2]
    final = OBJECTS["Job", job]["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
    assert start(job)[1].wait(rc=None).rc in final, "there is no such file"
    file.write_text((ROOT / "docker/migrations" / file.name).read_text())
    producer = start(job)[1]
    producer.wait_for_log("registered")
    producer.terminate()
    assert producer.wait(rc=None).rc not in final
