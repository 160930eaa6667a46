"""Measures `stele import` from MariaDB into PostgreSQL and SQLite, and what it costs those who log in meanwhile.

    python3 bench/import          builds the release binary first; needs MariaDB, PostgreSQL, redis-server and Python 3

import:  rows of md5 hashes are imported into an empty database; then the same rows again, and a tenth as many of a
         second source. Rows per second, processor time of the importer, MariaDB and PostgreSQL, and the importer's
         peak memory. The last fifth of the rows is compared with the first, and --large (10,000,000 rows) with --rows.
logins:  throughput of salted logins and of logins with the password, on a server that hashes imported passwords in the
         background, and on one that has as many users and nothing to hash; one of the two is stopped while the other is
         measured. With two instances, on PostgreSQL and Redis, as well.
migrate: logins and changes of passwords, every 100 ms, while `stele migrate` adds the tables and indexes of imports to
         a database with --rows users whose instances run.

The servers are private, with the settings of Debian's packages, which sync every commit. The exit code is 1 if a
threshold is missed.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from clients import USERS, measure_logins, raw_login, record_gaps, salted_login
from installation import Installation, Up
from servers import Mariadb, Postgres, Redis, cpu_seconds

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Thresholds: rows per second, memory in MB, memory and speed of the large import relative to the other, throughput of
# logins while passwords are hashed, seconds without a successful request while migrations run.
ROWS_PER_SECOND, MEMORY, MEMORY_GROWTH, SPEED_KEPT, LOGINS_KEPT, GAP = 20_000, 100.0, 1.1, 0.8, 0.8, 1.0
# Seconds of one measurement of logins.
SECONDS = 8
# A hash as Stele makes it, and the number of the first migration that `migrate` measures.
STRONG_HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "B" * 42 + "A"
FIRST_MIGRATION = "0016"


class Bench:
    def __init__(self, stele: str, home: pathlib.Path) -> None:
        self.stele, self.home, self.passed = stele, home, True
        self.mariadb, self.postgres = Mariadb(home), Postgres(home)

    def judge(self, name: str, figure: str, passed: bool) -> None:
        self.passed &= passed
        print(f"{name}: {figure}: {'ok' if passed else 'MISSED'}", flush=True)

    def measure_import(self, target: str, rows: int, large: int) -> None:
        results = {}
        for count in [rows, *([large] if large else [])]:
            for table, number, phone in (("users", count, "138"), ("more", count // 10, "139")):
                self.mariadb.create_table(table, number, phone)
            installation = Installation(self, target)
            result = results[count] = installation.import_table("users")
            name = f"{target}, {count:,} rows"
            self.judge(name, result.describe(), result.rate >= ROWS_PER_SECOND and result.memory <= MEMORY)
            ratio = result.rate_between(0.8, 1) / result.rate_between(0, 0.2)
            self.judge(f"{name}, last fifth", f"{ratio:.2f} of the first fifth's speed", ratio >= SPEED_KEPT)
            size = sum(path.stat().st_size for path in (installation.folder / "data").glob("users.db*"))
            if installation.database:
                size = int(installation.sql("SELECT pg_database_size(current_database())"))
            print(f"{name}: the database has {size / 1e6:,.0f} MB", flush=True)
            print(f"{name}, again: {installation.import_table('users').describe()}", flush=True)
            more = installation.import_table("more")
            ratio = more.rate / result.rate
            self.judge(f"{name}, a second source", f"{more.describe()}; {ratio:.2f} of the first", ratio >= SPEED_KEPT)
            installation.remove()
            self.mariadb.sql("DROP TABLE users; DROP TABLE more")
        if large:
            first, last = results[rows], results[large]
            memory, speed = last.memory / first.memory, last.rate / first.rate
            figure = f"{memory:.2f} of the memory and {speed:.2f} of the speed with {rows:,} rows"
            self.judge(f"{target}, {large:,} rows", figure, memory <= MEMORY_GROWTH and speed >= SPEED_KEPT)

    def start_pair(self, target: str, instances: int, redis: Redis | None) -> tuple[list, list]:
        """A server that hashes, and one with as many users and nothing to hash."""
        self.mariadb.sql("DROP TABLE IF EXISTS base; DROP TABLE IF EXISTS users")
        self.mariadb.create_table("base", USERS, "137")
        self.mariadb.create_table("users", 50_000, "138")
        installations = [Installation(self, target, redis) for _ in range(2)]
        for installation in installations:
            installation.import_table("base")
            up = Up(installation)
            while installation.pending():
                time.sleep(0.5)
            up.stop()
        hashing, idle = installations
        hashing.import_table("users")
        idle.import_table("users", 'kind = "none"')
        return installations, [[Up(installation) for _ in range(instances)] for installation in installations]

    def measure_hashing(self, target: str, instances: int, rounds: int) -> None:
        redis = Redis(self.home) if target == "postgres" else None
        installations, (hashing, idle) = self.start_pair(target, instances, redis)
        groups = [("with", hashing), ("without", idle)]
        for up in [*hashing, *idle]:
            up.signal(signal.SIGSTOP)
        for name, login in (("salted logins", salted_login), ("logins with the password", raw_login)):
            rates = {"with": [], "without": []}
            hashed = 0
            for _ in range(rounds):
                for key, running in groups:
                    [up.signal(signal.SIGCONT) for up in running]
                    time.sleep(1)
                    before = installations[0].pending() if key == "with" else 0
                    rates[key].append(measure_logins(running, login, SECONDS))
                    hashed += before - installations[0].pending() if key == "with" else 0
                    [up.signal(signal.SIGSTOP) for up in running]
            medians = {key: statistics.median(values) for key, values in rates.items()}
            ratio = medians["with"] / medians["without"]
            figure = (
                f"{medians['with']:,.0f}/s while passwords are hashed ({hashed / rounds / SECONDS:.0f}/s), "
                f"{medians['without']:,.0f}/s without; {ratio:.2f}"
            )
            self.judge(f"{target}, {instances} instance(s), {name}", figure, ratio >= LOGINS_KEPT)
        [up.signal(signal.SIGSTOP) for up in idle]
        [up.signal(signal.SIGCONT) for up in hashing]
        time.sleep(1)
        before = installations[0].pending()
        cpu = sum(cpu_seconds(up.process.pid) for up in hashing)
        time.sleep(SECONDS)
        rate = (before - installations[0].pending()) / SECONDS
        cpu = sum(cpu_seconds(up.process.pid) for up in hashing) - cpu
        print(f"{target}, {instances} instance(s), no logins: {rate:.0f} hashes/s with {cpu / SECONDS:.2f} cores, "
              f"{1e6 / rate / 3600:.1f} h per million", flush=True)
        for up in [*hashing, *idle]:
            up.signal(signal.SIGCONT)
            up.stop()
        for installation in installations:
            installation.remove()
        if redis:
            redis.stop()

    def measure_migration(self, target: str, rows: int) -> None:
        redis = Redis(self.home) if target == "postgres" else None
        self.mariadb.sql("DROP TABLE IF EXISTS base; DROP TABLE IF EXISTS users")
        self.mariadb.create_table("base", USERS, "137")
        self.mariadb.create_table("users", rows, "138")
        column = f"password CHAR(97) DEFAULT '{STRONG_HASH}'"
        self.mariadb.sql(f"ALTER TABLE users DROP COLUMN password, ADD COLUMN {column}")
        installation = Installation(self, target, redis)
        installation.env |= {"STELE_PASSWORD_LIST": "off"}
        installation.import_table("base")
        installation.import_table("users", 'column = "password"\nkind = "argon2"')
        ups = [Up(installation) for _ in range(2 if redis else 1)]
        while installation.pending():
            time.sleep(0.5)
        folder = ROOT / f"crates/store/migrations/users-{target}"
        later = sorted(path for path in folder.iterdir() if path.name >= FIRST_MIGRATION)
        for path in reversed(later):
            installation.sql((path / "down.sql").read_text())
        installation.sql(f"DELETE FROM __diesel_schema_migrations WHERE version >= '{FIRST_MIGRATION}'")
        before, _ = record_gaps(ups, lambda: time.sleep(SECONDS / 2))
        gaps, seconds = record_gaps(ups, lambda: installation.run("migrate"))
        print(f"{target}, {rows:,} users: {len(later)} migrations in {seconds:.2f} s", flush=True)
        for kind, (gap, failures) in gaps.items():
            figure = f"longest gap {gap:.2f} s ({before[kind][0]:.2f} s without a migration), {failures} failures"
            self.judge(f"{target}, {rows:,} users, {kind}", figure, gap <= GAP and failures == 0)
        [up.stop() for up in ups]
        installation.remove()
        if redis:
            redis.stop()


def build_program() -> str:
    command = ["cargo", "build", "--profile", "dist", "--locked", "--message-format=json", "-p", "stele"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "stele")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the import (default 1000000)")
    parser.add_argument("--large", type=int, default=0, metavar="ROWS", help="rows of a second, larger import")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of logins with and without hashing")
    parser.add_argument("--targets", nargs="+", choices=["postgres", "sqlite"], default=["postgres", "sqlite"])
    parts = ["import", "logins", "migrate"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--program", help="the `stele` to measure, instead of building it")
    parser.add_argument("--folder", help="where to put the databases (default: the temporary folder)")
    arguments = parser.parse_args()
    stele = os.path.abspath(arguments.program) if arguments.program else build_program()
    with tempfile.TemporaryDirectory(prefix="stele-import-", dir=arguments.folder) as folder:
        home = pathlib.Path(folder)
        home.chmod(0o755)
        bench = Bench(stele, home)
        # Terminated, it stops the servers as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.2f}", flush=True)
        try:
            for target in arguments.targets:
                if "import" in arguments.only:
                    bench.measure_import(target, arguments.rows, arguments.large)
                if "logins" in arguments.only:
                    for instances in (1, 2) if target == "postgres" else (1,):
                        bench.measure_hashing(target, instances, arguments.rounds)
                if "migrate" in arguments.only:
                    bench.measure_migration(target, arguments.rows)
        finally:
            bench.mariadb.stop()
            bench.postgres.stop()
        print(f"load {os.getloadavg()[0]:.2f}")
    sys.exit(not bench.passed)


if __name__ == "__main__":
    main()
