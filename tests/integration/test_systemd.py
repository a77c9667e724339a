"""What `cmake --install` lays down: programs and units that systemd finds nothing wrong with, and whose commands run as the units say."""

import os
import re
import shlex
import shutil
import subprocess

import pytest

from lib.deployed import default_of
from lib.drover import binaries
from lib.metrics import Served
from lib.process import free_port, temporary_directory, wait_for

UNITS = {"drover-worker@1": "drover-worker", "drover-exporter": "drover", "drover-produce@0001_split_name": "drover"}
EXPOSURE_MAX = 15  # tenths; systemd calls what is below 2 OK, an ordinary service has 96


@pytest.fixture(scope="module")
def prefix():
    folder = temporary_directory("install")
    subprocess.run(["cmake", "--install", binaries().parent, "--prefix", folder], check=True, capture_output=True)
    yield folder
    shutil.rmtree(folder)


def analyze(prefix, *argv):
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{prefix}/lib/systemd/system:"}
    done = subprocess.run(["systemd-analyze", "--no-pager", *argv], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


class Unit:
    """A unit as systemd would read it: its own file and what all have in common, %-specifiers filled in."""

    def __init__(self, prefix, name, credentials, etc):
        template, _, instance = name.partition("@")
        folder = prefix / "lib/systemd/system"
        files = [folder / f"{template}{'@' if instance else ''}.service", *(folder / "drover-.service.d").iterdir()]
        text = "".join(path.read_text() for path in files)
        meaning = {"%d": str(credentials), "%H": "host", "%i": instance, "%N": name}
        assert set(re.findall("%.", text)) <= meaning.keys()
        for specifier, value in meaning.items():
            text = text.replace(specifier, value)
        self.entries = re.findall(r"^(\w+)=(.*)$", text.replace("/etc/drover", str(etc)), re.MULTILINE)

    def all(self, key):
        return [value for name, value in self.entries if name == key]

    def one(self, key):
        (value,) = self.all(key)
        return value

    def environment(self):
        env = dict(word.split("=", 1) for line in self.all("Environment") for word in shlex.split(line))
        for path in self.all("EnvironmentFile"):
            if os.path.exists(path.removeprefix("-")):
                env.update(line.split("=", 1) for line in open(path.removeprefix("-")).read().splitlines())
        return env


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(prefix, name):
    assert analyze(prefix, "verify", f"{name}.service") == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_may_do_little(prefix, name):
    rc, said = analyze(prefix, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", f"{name}.service")
    assert rc == 0, said.splitlines()[-1]


def test_what_is_wrong_with_a_unit_is_found(prefix):
    path = prefix / "lib/systemd/system/drover-wrong.service"
    path.write_text(f"[Service]\nExecStart={prefix}/bin/drover-nothing\nRestarts=always\n")
    try:
        rc, said = analyze(prefix, "verify", path.name)
    finally:
        path.unlink()
    assert rc != 0 and "Restarts" in said and "drover-nothing" in said


def test_a_drain_fits_into_the_time_that_systemd_gives_it(prefix, tmp_path):
    drain_s = int(default_of("--drain-timeout"))
    assert drain_s < int(Unit(prefix, "drover-worker@1", tmp_path, tmp_path).one("TimeoutStopSec")) <= 2 * drain_s


def test_the_units_commands_migrate_with_credentials_alone(pg, redis, drover, prefix):
    etc = drover.dir / "etc"
    (etc / "migrations").mkdir(parents=True)
    port = free_port()
    (etc / "environment").write_text("DROVER_LOG_FORMAT=kv\nDROVER_CONCURRENCY=2\n")
    (etc / "drover-exporter.environment").write_text(f"DROVER_METRICS_LISTEN={port}\n")
    (etc / "migrations/0001_split_name.sql").write_text("-- drover: table people\n-- drover: set first_name = split_part(full_name, ' ', 1)\n")
    pg.sql("CREATE TABLE people (id int PRIMARY KEY, full_name text, first_name text);"
           "INSERT INTO people SELECT g, 'Ada Lovelace' FROM generate_series(1, 2000) g")
    (etc / "database_url").write_text(drover.env.pop("DATABASE_URL") + "\n")
    (etc / "redis_url").write_text(drover.env.pop("REDIS_URL") + "\n")
    drover.bindir = prefix / "bin"

    def start(name):
        credentials = drover.dir / f"credentials-{name}"
        credentials.mkdir()
        unit = Unit(prefix, name, credentials, etc)
        for line in unit.all("LoadCredential"):
            credential, path = line.split(":")
            (credentials / credential).write_text(open(path).read())
        program, *arguments = shlex.split(unit.one("ExecStart"))
        assert program == f"{prefix}/bin/{UNITS[name]}"
        for folder in unit.all("WorkingDirectory"):
            arguments = [f"{folder}/{argument}" if argument.endswith(".sql") else argument for argument in arguments]
        return drover.popen(*arguments, program=UNITS[name], env=unit.environment())

    worker, exporter = start("drover-worker@1"), start("drover-exporter")
    start("drover-produce@0001_split_name").wait(rc=0)
    assert pg.value("SELECT count(*) FROM people WHERE first_name = 'Ada'") == 2000
    assert pg.sql("SELECT name FROM drover.workers") == [("host-1",)]
    served = Served(exporter)
    assert served.port == port
    wait_for(lambda: served.get("/readyz")[0] == 200, "the exporter is ready")
    # `drover restart` ends a worker with a status after which its unit starts it again.
    drover.run("restart", env=Unit(prefix, "drover-exporter", drover.dir / "credentials-drover-exporter", etc).environment())
    assert Unit(prefix, "drover-worker@1", drover.dir, etc).one("Restart") == "always"
    assert worker.wait().rc == 0
