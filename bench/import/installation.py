"""Installations of Stele, imports into them, and running instances."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from servers import Redis, free_port

MAP = """format = "mysql"
query = "SELECT * FROM {table}"
dialect = "cloudbox"
[columns]
id = "user_id"
username = "user_name"
phone = "mobile"
email = "mail"
real_name = "real_name"
registered_at = {{ column = "created", format = "%Y-%m-%d %H:%M:%S", zone = "+08:00" }}
role = {{ column = "is_admin", admin = ["1"] }}
[secret]
{secret}
"""


class Installation:
    """A data folder, and a database in it (SQLite) or on a PostgreSQL server."""

    def __init__(self, bench, target: str, redis: Redis | None = None) -> None:
        self.bench, self.target = bench, target
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="data-", dir=bench.home))
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("STELE_")}
        self.env |= {"STELE_DATA": str(self.folder / "data"), "STELE_TRUSTED_PROXIES": "127.0.0.1"}
        self.database = bench.postgres.new_database() if target == "postgres" else None
        if self.database:
            self.env["STELE_DATABASE_URL"] = self.database
        if redis:
            self.env["STELE_REDIS_URL"] = f"redis://127.0.0.1:{redis.port}/?prefix={self.folder.name}"
        self.run("migrate")

    def run(self, *args: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run([self.bench.stele, *args], env=self.env, cwd=self.folder, capture_output=True, text=True)
        if done.returncode not in codes:
            sys.exit(f"stele {' '.join(args)}: {done.returncode} {done.stdout}{done.stderr}")
        return done.stdout

    def sql(self, text: str) -> str:
        if self.database:
            return self.bench.postgres.sql(text, self.database.rsplit("/", 1)[1])
        file = self.folder / "data/users.db"
        with contextlib.closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
            connection.executescript(text)
        return ""

    def pending(self) -> int:
        return int(self.run("import", "status", "--source", "base").split("argon2id: ")[1].split()[0])

    def import_table(self, table: str, secret: str = 'column = "password"\nkind = "md5"') -> "ImportResult":
        (self.folder / "map.toml").write_text(MAP.format(table=table, secret=secret))
        return ImportResult(self, table)

    def remove(self) -> None:
        shutil.rmtree(self.folder)
        if self.database:
            self.bench.postgres.sql(f"DROP DATABASE {self.database.rsplit('/', 1)[1]} WITH (FORCE)")


class ImportResult:
    """A run of `stele import run`."""

    def __init__(self, installation: Installation, table: str) -> None:
        bench = installation.bench
        servers = {"MariaDB": bench.mariadb, **({"PostgreSQL": bench.postgres} if installation.database else {})}
        before = {name: server.cpu() for name, server in servers.items()}
        command = [bench.stele, "import", "run", "--source", table, "--map", "map.toml", bench.mariadb.url()]
        began = time.monotonic()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, env=installation.env, cwd=installation.folder, **pipes)
        self.progress = [(0.0, 0)]
        for line in filter(lambda line: line.startswith("{"), process.stderr):
            counts = json.loads(line)
            self.progress.append((time.monotonic() - began, counts["added"] + counts["same"]))
        self.last_line = process.stdout.read().splitlines()[-1]
        _, status, usage = os.wait4(process.pid, 0)
        self.seconds = time.monotonic() - began
        if os.waitstatus_to_exitcode(status) != 0:
            sys.exit(f"the import ended with {os.waitstatus_to_exitcode(status)}: {self.last_line}")
        words = self.last_line.split()
        self.rows = int(words[1]) + int(words[3])
        self.progress.append((self.seconds, self.rows))
        self.memory = usage.ru_maxrss * 1024 / 1e6
        self.cpu = {"importer": usage.ru_utime + usage.ru_stime}
        self.cpu |= {name: server.cpu() - before[name] for name, server in servers.items()}

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    def rate_between(self, start: float, end: float) -> float:
        """Rows per second between two shares of the rows, from the lines of progress, one a second."""
        inside = [(at, rows) for at, rows in self.progress if start <= rows / self.rows <= end]
        (first_at, first), (last_at, last) = inside[0], inside[-1]
        return (last - first) / (last_at - first_at) if len(inside) > 2 else self.rate

    def describe(self) -> str:
        used = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.cpu.items())
        return f"{self.rate:,.0f} rows/s in {self.seconds:.1f} s; CPU: {used}; peak memory {self.memory:.1f} MB"


class Up:
    """A running `stele up`."""

    def __init__(self, installation: Installation) -> None:
        self.port = free_port()
        env = installation.env | {"STELE_ADMIN_LISTEN": "127.0.0.1:0", "STELE_LISTEN": f"127.0.0.1:{self.port}"}
        log = open(installation.folder / f"up-{self.port}.log", "wb")
        self.process = subprocess.Popen([installation.bench.stele, "up"], env=env, stdout=log, stderr=log)
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1).read()
                return
            time.sleep(0.05)
        sys.exit(f"stele up is not ready: {pathlib.Path(log.name).read_text()}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
