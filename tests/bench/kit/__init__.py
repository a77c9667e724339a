"""What the benches share: servers set up as in production, tables, what a run costs, the report."""

from kit.costs import Meter, peak_mib, watch
from kit.report import Report, middle, timed
from kit.servers import MIB, SERVER, Tables, clean, database, fill, settle
from kit.servers import LEFT, ROW_FILE, SET_FILE

__all__ = ["LEFT", "MIB", "ROW_FILE", "SERVER", "SET_FILE", "Meter", "Report", "Tables", "clean", "database", "fill", "middle", "peak_mib",
           "settle", "timed", "watch"]
