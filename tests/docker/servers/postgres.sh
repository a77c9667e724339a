#!/bin/sh
# What the official image does, in short: a cluster with the user, the password and the database that the environment names.
set -eu
data=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
	install -d -o postgres -g postgres -m 700 $data
	exec setpriv --reuid postgres --regid postgres --init-groups "$0"
fi
if [ ! -s $data/PG_VERSION ]; then
	/usr/local/bin/initdb -D $data -U "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" -A scram-sha-256 --locale=C.UTF-8 > /dev/null
	echo 'host all all all scram-sha-256' >> $data/pg_hba.conf
	sed -i 's/^local .*/local all all trust/' $data/pg_hba.conf
	echo "CREATE DATABASE \"$POSTGRES_DB\"" | /usr/local/bin/postgres --single -D $data postgres > /dev/null
fi
exec /usr/local/bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp
