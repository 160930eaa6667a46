"""The server under test: `stele up` on a free port, and the `stele` command."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

from install import SetupError
from plan import PASSWORD

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HIGH = "1000000"
# Unreachable rate limits and cheap hashes, since the test covers only wire formats.
SETTINGS = {
    "STELE_ADMIN_LISTEN": "127.0.0.1:0",
    "STELE_LOG": "warn",
    "STELE_HASH_COST": "64,1,1,weak",
    "STELE_SEND_TOTAL": "0",
    **{f"STELE_LIMIT_{name}": HIGH for name in ("ACCOUNT", "ADDRESS", "APP")},
    **{f"STELE_SEND_{name}": HIGH for name in ("RECIPIENT", "ADDRESS", "APP", "CAPTCHA")},
}


def program_under_test():
    """The program under test: the one that STELE names, or a debug build."""
    if program := os.environ.get("STELE"):
        return str(pathlib.Path(program).resolve())
    print("building stele", file=sys.stderr)
    subprocess.run(["cargo", "build", "--quiet", "--locked", "-p", "stele"], cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    return json.loads(subprocess.check_output(metadata, cwd=ROOT))["target_directory"] + "/debug/stele"


class Stele:
    """`stele up` with a temporary folder and one allowed CORS origin; a context manager that stops it."""

    def __init__(self, folder, origin):
        self.program, self.folder = program_under_test(), folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("STELE_")}
        self.environment |= {**SETTINGS, "STELE_DATA": str(folder / "data"), "STELE_CORS_ORIGINS": origin}
        self.codes, self.lines_read, self.complaints = {}, 0, []

    def __enter__(self):
        with (self.folder / "out").open("w") as out, (self.folder / "log").open("w") as log:
            up = [self.program, "up", "--listen", "127.0.0.1:0"]
            self.process = subprocess.Popen(up, env=self.environment, stdout=out, stderr=log)
        try:
            self.port = self.eventually(self.listening_port, 30)
            if not self.port:
                raise SetupError("stele up is not ready after 30 s")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.complaints = re.findall(r".*(?:panicked| ERROR ).*", (self.folder / "log").read_text())
        self.process.terminate()
        self.process.wait()

    def listening_port(self):
        """The port that `stele up` has printed; None before that."""
        if self.process.poll() is not None:
            raise SetupError(f"stele up: {(self.folder / 'log').read_text().strip()}")
        found = re.search(r"^Stele is up at http://[^ ]*:(\d+)", (self.folder / "out").read_text(), re.M)
        return found and int(found[1])

    @staticmethod
    def eventually(poll, seconds):
        """Calls `poll` until its result is true or the time is over; returns the last result."""
        end = time.monotonic() + seconds
        while not (found := poll()) and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def command(self, *words, given=""):
        run = subprocess.run([self.program, *words], env=self.environment, input=given, capture_output=True, text=True)
        if run.returncode:
            raise SetupError(f"stele {' '.join(words)}: {run.stderr.strip()}")
        return run.stdout.strip()

    def add_user(self, name, phone, *rest):
        more = ["--phone", phone, *rest] if phone else rest
        return self.command("user", "add", "--username", name, "--password-stdin", *more, given=f"{PASSWORD}\n")

    def add_app(self, name, *may_token):
        """Registers a MeFP app; returns the shared secret and the app's own."""
        lines = self.command("app", "add", name, *(word for app in may_token for word in ("--may-token", app)))
        return [line.split()[1] for line in lines.splitlines()]

    def code(self, phone):
        """Waits for the next code sent to a phone."""

        def next_code():
            lines = (self.folder / "data/outbox.jsonl").read_text().splitlines(keepends=True)
            for line in lines[self.lines_read :]:
                if line.endswith("\n"):
                    self.lines_read += 1
                    message = json.loads(line)
                    self.codes.setdefault(message["to"], []).append(message["code"])
            return self.codes.get(phone) and self.codes[phone].pop(0)

        return self.eventually(next_code, 5) or "000000"

    def portal_logouts(self):
        """The number of portal sessions that ended by a logout, from the audit log."""
        lines = self.command("audit", "--json", "--act", "logout", "--dialect", "portal", "--result", "ok").splitlines()
        return sum(bool(json.loads(line)["subject"]) for line in lines)
