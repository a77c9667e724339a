"""What compose, Kubernetes and systemd start, as a test starts it: a user of Redis and passwords in files, as docker/secrets.sh makes them."""

import shutil
import subprocess
from pathlib import Path

from lib.redis_server import Redis

ROOT = Path(__file__).resolve().parents[2]
RIGHTS = ("~drover:*", "+@all", "-@dangerous", "+info")  # docs/servers.md


def secrets(folder):
    """A folder with the passwords that docker/secrets.sh makes."""
    shutil.copy(ROOT / "docker/secrets.sh", folder)
    subprocess.run([folder / "secrets.sh"], check=True)
    return folder / "secrets"


def redis_with_user(password):
    """A Redis that knows the user `drover` alone; a context manager."""
    server = Redis(args=["--user", "default", "off", "--user", "drover", "on", f">{password}", *RIGHTS])
    server.url = f"unix://drover@{server.socket}"
    return server


def default_of(option):
    """The default of an option of drover-worker, as its page has it."""
    row = next(line for line in (ROOT / "docs/worker.md").read_text().splitlines() if line.startswith("|") and f"`{option} " in line)
    return row.split("|")[3].strip(" `")
