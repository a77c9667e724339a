"""A primary and its streaming standby, both on TCP ports, as one URL of two hosts."""

from lib.postgres import Database, Postgres
from lib.process import run_as_server_user, wait_for


class Pair:
    """primary, standby. A context manager. sync: commits wait for the standby, so that a failover loses nothing."""

    def __init__(self, sync=False):
        self.sync = sync
        self.primary = Postgres(tcp=True, settings={"wal_level": "replica", "hot_standby": "on"})
        self.standby = None

    def __enter__(self):
        self.primary.start()
        folder = self.primary.dir / "standby"
        run_as_server_user([self.primary.bindir / "pg_basebackup", "-h", self.primary.dir, "-p", self.primary.port, "-U", "postgres",
                            "-D", folder, "-R", "-X", "stream", "-c", "fast", "--no-sync"])
        self.standby = Postgres(tcp=True, data=folder)
        self.standby.start()
        wait_for(lambda: self.primary.sql("SELECT state FROM pg_stat_replication") == [("streaming",)], "the standby streams")
        if self.sync:
            self.primary.configure({"synchronous_standby_names": "*"})
            self.primary.reload()
        return self

    def __exit__(self, *_):
        for server in (self.standby, self.primary):
            server.remove()

    def url(self, dbname):
        return (f"postgresql://postgres@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/{dbname}"
                "?target_session_attrs=read-write")

    def promoted(self, database):
        """A database of the primary's, as it is on the standby."""
        return Database.at(self.standby, database.name)

    def fall_behind(self):
        """The standby receives nothing any more: what is committed from now on a failover loses."""
        self.standby.sql("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
        self.standby.sql("SELECT pg_reload_conf()")
        wait_for(lambda: self.primary.sql("SELECT count(*) FROM pg_stat_replication") == [(0,)], "the standby is cut off")

    def fail_over(self):
        """The primary dies, the standby is promoted."""
        self.primary.kill()
        self.standby.sql("SELECT pg_promote(true, 60)")
