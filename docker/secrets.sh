#!/bin/sh
# Makes the passwords of compose.yml, in secrets/ beside it, unless they are there, and .env, which says where they are. The folder is ours alone;
# the files in it may be read by whatever user a container runs as.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
for name in database_password redis_password grafana_password; do
	[ -s secrets/$name ] || od -A n -t x1 -N 24 /dev/urandom | tr -d ' \n' > secrets/$name
	chmod 644 secrets/$name
done
# The project's name is that of no folder: its containers' names begin with it.
[ -e .env ] || printf 'COMPOSE_PROJECT_NAME=drover\nDROVER_SECRETS=./secrets\n' > .env
