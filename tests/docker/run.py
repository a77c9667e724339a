"""./dev docker-test: builds the image with this machine's Docker engine and plays compose.yml through, from producing to replay.

The servers are Debian's, in an image of one base (servers/): nothing is pulled but the base, and where no registry can be reached that is made with
debootstrap. What runs is docker/compose.yml with tests/docker/compose.yml over it, as a project of its own, and is gone afterwards.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = "debian:trixie-slim"
IMAGE = "drover-test"
IMAGE_MIB_MAX = 120
PATIENCE_S = 120
ROWS = 60_000
BAD = 6

FILE = """-- drover: table  people
-- drover: set    first_name = split_part(full_name, ' ', 1)
-- drover: batch-size 100
"""
TABLE = f"""CREATE TABLE people (id bigint PRIMARY KEY, full_name text NOT NULL, first_name text, changes int NOT NULL DEFAULT 0);
INSERT INTO people SELECT g, CASE WHEN g % {ROWS // BAD} = 7 THEN 'X' ELSE 'Ada' END || ' Lovelace' FROM generate_series(1, {ROWS}) g;
ALTER TABLE people ADD CONSTRAINT no_x CHECK (first_name <> 'X') NOT VALID;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END $$;
CREATE TRIGGER note BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note();"""


def say(text):
    print(f"==> {text}", flush=True)


def check(holds, text):
    if not holds:
        raise AssertionError(text)
    say(f"    {text}")


def run(*argv, rc=0, **kwargs):
    """Its output, both kinds together; it must end with status rc (None: any)."""
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if rc is not None and done.returncode != rc:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit status {done.returncode}, not {rc}:\n{done.stdout[-4000:]}")
    return done.stdout


def wait_for(predicate, what):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.2)


# --- images ---


def make_base():
    """The base as the registry has it, or made here."""
    if run("docker", "images", "-q", BASE).strip():
        return
    if subprocess.run(["docker", "pull", "-q", BASE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        return
    say(f"{BASE} cannot be pulled: made with debootstrap")
    folder = Path(tempfile.mkdtemp(prefix="drover-base-"))
    try:
        run("debootstrap", "--variant=minbase", "trixie", folder / "root")
        run("sh", "-c", f"tar -C {folder}/root -c . | docker import -c 'CMD [\"bash\"]' - {BASE}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build_images():
    say("building the images")
    make_base()
    run(ROOT / "dev", "image", IMAGE)
    run("docker", "build", "-q", "-t", "drover-test-servers", ROOT / "tests/docker/servers")


def look_at_image():
    say("the image")
    about = json.loads(run("docker", "image", "inspect", IMAGE))[0]
    mib = about["Size"] / 2**20
    check(mib < IMAGE_MIB_MAX, f"{mib:.1f} MiB")
    check(re.match(r"[1-9]", about["Config"]["User"]), f"runs as {about['Config']['User']}")
    version = about["Config"]["Labels"]["org.opencontainers.image.version"]
    run_image = ("docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", IMAGE)
    for program in ("drover", "drover-worker"):
        said = run(*run_image, program, "--version").strip()
        check(said == f"{program} {version}", f"{said}, as its label says")
    for absent in ("sh", "gcc", "apt-get"):
        check("executable file not found" in run(*run_image, absent, rc=127), f"there is no {absent}")
    said = run("docker", "run", "--rm", "-e", "DATABASE_URL_FILE=/run/secrets/none", IMAGE, rc=2).strip()
    check(said == "drover-worker: DATABASE_URL_FILE: cannot read '/run/secrets/none': No such file or directory", f"without secrets: {said}")
    said = run("docker", "run", "--rm", "-e", "REDIS_URL=rediss://localhost", IMAGE, "drover-worker", "--max-time", "1").strip()
    check("needs a hiredis" not in said, "TLS to Redis is in it")


# --- the compose file ---


class Compose:
    """The project; its secrets and migrations are folders of this run."""

    def __init__(self, folder):
        shutil.copytree(ROOT / "docker", folder / "docker", ignore=shutil.ignore_patterns("secrets", ".env"))
        shutil.copytree(ROOT / "tests/docker", folder / "tests/docker")
        (folder / "docker/migrations/0001_first_name.sql").write_text(FILE)
        v2 = subprocess.run(["docker", "compose", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        self.argv = [*(["docker", "compose"] if v2 else ["docker-compose"]),
                     "-f", folder / "docker/compose.yml", "-f", folder / "tests/docker/compose.yml"]
        self.env = {**os.environ, "COMPOSE_PROJECT_NAME": "drover-test", "DROVER_IMAGE": IMAGE,
                    "PROMETHEUS_PORT": "0", "GRAFANA_PORT": "0"}
        say(f"with {run(*self.argv[:-4], 'version').splitlines()[0]}")
        said = self("up", rc=None).splitlines()
        check(len(said) == 1 and "run docker/secrets.sh once" in said[0], f"without secrets: {said[0]}")
        run(folder / "docker/secrets.sh")

    def __call__(self, *args, rc=0):
        return run(*self.argv, *args, rc=rc, env=self.env, stdin=subprocess.DEVNULL)

    def drover(self, *args, rc=0):
        """A one-off command of the console, without what compose says about it."""
        return self("run", "--rm", "-T", "drover", *args, rc=rc)

    def popen(self, *args):
        return subprocess.Popen([str(a) for a in (*self.argv, "run", "--rm", "-T", "drover", *args)], env=self.env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def sql(self, query):
        return self("exec", "-T", "postgres", "psql", "-U", "app", "-Atqc", query).strip()

    def scale(self, n):
        say(f"workers: {n}")
        self("up", "-d", "--no-recreate", "--scale", f"worker={n}", "worker")
        wait_for(lambda: self.alive() == n, f"{n} workers are alive")

    def containers(self, service):
        return self("ps", "-q", service).split()

    def alive(self):
        return int(self.sql("SELECT count(*) FROM drover.workers WHERE heartbeat_at > now() - interval '15 s'") or 0)

    def done(self):
        return int(self.sql("SELECT count(*) FROM people WHERE first_name IS NOT NULL"))

    def wait_until_done(self, rows):
        wait_for(lambda: self.done() >= rows, f"{rows} rows are done")


def play(compose):
    compose("up", "-d", "postgres", "redis")
    wait_for(lambda: compose("exec", "-T", "postgres", "pg_isready", rc=None).rstrip().endswith("accepting connections"), "PostgreSQL answers")
    compose.sql(TABLE)
    compose.drover("init")
    compose.scale(2)

    say("produced from a console")
    compose.drover("config", "processing_interval_ms=100")
    producer = compose.popen("produce", "0001_first_name.sql", "--wait")
    compose.wait_until_done(ROWS // 20)
    compose.scale(6)
    compose.wait_until_done(ROWS // 5)

    say("a worker is killed; Redis is restarted, empty")
    run("docker", "kill", compose.containers("worker")[0])
    compose("restart", "-t", "1", "redis")
    compose.wait_until_done(ROWS // 3)
    compose.scale(1)
    compose.drover("config", "processing_interval_ms=0")
    said = producer.communicate(timeout=2 * PATIENCE_S)[0]
    check(producer.returncode == 4, f"the producer ends with status 4, {BAD} dead letters:\n{said}")

    say("dead letters")
    check("23514" in compose.drover("failed", "0001_first_name", "--group"), "they are grouped by their error")
    compose.sql("ALTER TABLE people DROP CONSTRAINT no_x")
    compose.drover("retry", "all", "--migration", "0001_first_name")
    wait_for(lambda: compose.done() == ROWS, "the replay is through")
    check("verified: no row is left" in compose.drover("verify", "0001_first_name"), "verified")
    check(compose.sql("SELECT changes, count(*) FROM people GROUP BY changes") == f"1|{ROWS}", "every row was changed once")


def watch(compose):
    say("what watches")
    compose("up", "-d", "exporter", "prometheus")
    compose.scale(2)
    healthy = lambda c: run("docker", "inspect", "-f", "{{.State.Health.Status}}", c).strip() == "healthy"
    for service in ("worker", "exporter"):
        wait_for(lambda: all(healthy(c) for c in compose.containers(service)), f"each {service} is healthy")
        say(f"    each {service} is healthy")
    port = run("docker", "port", compose.containers("prometheus")[0], "9090").split()[0].rpartition(":")[2]

    def query(text):
        url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": text})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    for text in ('count(up{job="drover-worker"} == 1) == 2', 'up{job="drover-exporter"} == 1', "drover_build_info", "drover_migration_changed_rows > 0"):
        wait_for(lambda text=text: query(text), f"Prometheus knows {text}")
        say(f"    Prometheus knows {text}")


def read_pages(compose):
    """Every line of the pages on containers that is marked as one for a shell, as it is written, in the folder docker/."""
    prelude = "set -eu\n"
    if compose.argv[0] == "docker-compose":
        prelude += 'docker() { if [ "$1" = compose ]; then shift; command docker-compose "$@"; else command docker "$@"; fi; }\n'
    env = {**compose.env, "COMPOSE_FILE": f"{compose.argv[-3]}:{compose.argv[-1]}"}
    for name in ("produce", "scaling", "replay"):
        say(f"docs/containers-{name}.md, line by line")
        page = (ROOT / f"docs/containers-{name}.md").read_text()
        script = prelude + "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
        run("bash", "-c", script, env=env, cwd=compose.argv[-1].parents[2] / "docker", stdin=subprocess.DEVNULL, timeout=4 * PATIENCE_S)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as after an error: nothing stays behind
    build_images()
    look_at_image()
    folder = Path(tempfile.mkdtemp(prefix="drover-compose-"))
    compose = Compose(folder)
    compose("down", "-v", "--remove-orphans")  # of a run that was killed
    try:
        play(compose)
        watch(compose)
        compose("down", "-v", "-t", "30")
        read_pages(compose)
    except BaseException:
        print(compose("logs", "--no-color", "--tail", "40", rc=None), file=sys.stderr)
        raise
    finally:
        compose("down", "-v", "--remove-orphans", "-t", "30", rc=None)
        shutil.rmtree(folder, ignore_errors=True)
    say("all of it works")


if __name__ == "__main__":
    main()
