"""Private database servers, and the tables that are imported."""
import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

PASSWORD = "the-password"
DIGEST = hashlib.md5(PASSWORD.encode()).hexdigest()
TABLE = """CREATE TABLE {table} (user_id CHAR(36) PRIMARY KEY, user_name VARCHAR(64), mobile VARCHAR(20),
mail VARCHAR(64), real_name VARCHAR(64), created DATETIME, is_admin TINYINT, password CHAR(32)) CHARACTER SET utf8mb4;
INSERT INTO {table} SELECT CONCAT('{table}-', LPAD(seq, 24, '0')), CONCAT('{table}', n),
CONCAT('{phone}', LPAD(n, 8, '0')), CONCAT(n, '@{table}.example'), CONCAT('用户', n), '2018-03-20 14:00:02', 0, {password}
FROM (SELECT seq, seq * {factor} MOD 99999989 AS n FROM seq_1_to_{rows}) AS numbers;"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_program(name: str) -> str:
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"], "/usr/sbin"]))
    return found or sys.exit(f"{name} is missing: apt install mariadb-server postgresql redis-server")


def cpu_seconds(process: int) -> float:
    """Processor time of a process and its children, living and ended."""
    def fields(stat: str) -> list[str]:
        return stat.rsplit(")", 1)[1].split()

    total = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            values = fields(path.read_text())
            if path.parent.name == str(process):
                total += sum(map(int, values[11:15]))
            elif values[1] == str(process):
                total += sum(map(int, values[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


class Server:
    """A private database server in a folder of its own."""

    def __init__(self, home: pathlib.Path, name: str, user: str = "") -> None:
        self.folder, self.port = home / name, free_port()
        self.folder.mkdir()
        self.user = {"user": user, "group": user} if user and os.getuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, user, user)
        self.log = open(home / f"{name}.log", "wb")

    def start(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder, **self.user)
        for _ in range(3000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        sys.exit(f"{command[0]} does not start: {pathlib.Path(self.log.name).read_text()}")

    def setup(self, *command: str) -> None:
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, cwd=self.folder, **output, **self.user)
        if done.returncode:
            sys.exit(f"{command[0]}: {done.stdout}")

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT if "postgres" in self.folder.name else signal.SIGTERM)
        self.process.wait(timeout=60)
        shutil.rmtree(self.folder)


class Mariadb(Server):
    def __init__(self, home: pathlib.Path) -> None:
        super().__init__(home, "mariadb", "mysql")
        data = f"--datadir={self.folder}/data"
        install = find_program("mariadb-install-db")
        self.setup(install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db")
        files = [f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"]
        address = [f"--port={self.port}", "--bind-address=127.0.0.1"]
        self.start(find_program("mariadbd"), "--no-defaults", data, *files, *address)
        self.sql("CREATE DATABASE old", "mysql")

    def sql(self, text: str, database: str = "old") -> None:
        client = [find_program("mariadb"), "--no-defaults", "--default-character-set=utf8mb4"]
        command = [*client, "-h127.0.0.1", f"-P{self.port}", "-uroot", database]
        subprocess.run(command, input=text.encode(), check=True)

    def create_table(self, table: str, rows: int, phone: str) -> None:
        """Creates a table whose names, phones and e-mails are in no order. Those of `base` are 1, 2, 3 …"""
        factor, password = (1, f"'{DIGEST}'") if table == "base" else (48_271, "MD5(CONCAT('password', seq))")
        self.sql(TABLE.format(table=table, rows=rows, phone=phone, factor=factor, password=password))

    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/old"


class Postgres(Server):
    def __init__(self, home: pathlib.Path) -> None:
        super().__init__(home, "postgres", "postgres")
        data = f"{self.folder}/data"
        self.setup(find_program("initdb"), "-D", data, "-U", "stele", "-A", "trust", "-E", "UTF8")
        address = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        self.start(find_program("postgres"), "-D", data, *address)
        self.count = 0

    def sql(self, text: str, database: str = "postgres") -> str:
        command = [find_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]
        for attempt in range(50):
            done = subprocess.run(command, input=text, capture_output=True, text=True)
            if done.returncode == 0:
                return done.stdout.strip()
            if "starting up" not in done.stderr:
                break
            time.sleep(0.1)
        sys.exit(f"psql: {done.stderr}")

    def url(self, database: str) -> str:
        return f"postgres://stele@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        self.count += 1
        self.sql(f"CREATE DATABASE stele{self.count}")
        return self.url(f"stele{self.count}")


class Redis(Server):
    def __init__(self, home: pathlib.Path) -> None:
        super().__init__(home, "redis")
        self.start(find_program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
