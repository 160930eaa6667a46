#!/usr/bin/env python3
"""Logs users in through every dialect until it is stopped, and counts the results.

    load.py ENVIRONMENT SECONDS FIRST

ENVIRONMENT is the JSON file of the independent client (crates/stele/tests/e2e/independent), whose modules this script
uses. The users are load-FIRST and the following ones. It stops after SECONDS or on SIGTERM, prints a line for each
failure, and at the end one JSON line: the logins and failures of each dialect, and the slowest login in milliseconds."""

import base64
import json
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "crates/stele/tests/e2e/independent"))

from mefp import pad_pkcs7  # noqa: E402
from salted import LOGIN, TMS  # noqa: E402
from wire import Wire, aes, b64, salted  # noqa: E402

# For each dialect: concurrent users, and seconds between two logins of a user. Most users log in through cloudbox,
# the service that is replaced: its logins need no password hash.
USERS = {"cloudbox": (8, 0.2), "tms": (2, 0.25), "portal": (1, 0.5), "mefp": (1, 0.5), "jwt": (1, 0.5)}
STOP = threading.Event()
LOCK = threading.Lock()


class User:
    """A user who logs in repeatedly. Each proof is accepted once, and its timestamp may be 300 s off; so a user has one
    proof per second, and some 280 in advance."""

    def __init__(self, environment, number):
        self.wire, self.name, self.password = Wire(environment), f"load-{number}", f"load-{number}-secret"
        self.phone, self.environment, self.last = f"186{number:08}", environment, 0

    def proof(self):
        self.last = max(self.last + 1, int(time.time()))
        while self.last - time.time() > 280 and not STOP.wait(0.1):
            pass
        return {"username": self.name, "password": salted(self.password, self.last), "timestamp": self.last}

    def cloudbox(self):
        return self.wire.post("json", LOGIN, self.proof()), lambda body: body["code"] == "0000"

    def tms(self):
        headers = {"Authorization": self.environment["client_token"]}
        return self.wire.post("json", TMS + "authsalt", self.proof(), headers), lambda body: body["code"] == "0000"

    def portal(self):
        fields = {"username": self.phone, "password": b64(self.password)}
        return self.wire.post("form", "/i/login", fields), lambda body: body["status"]["status_code"] == "200"

    def jwt(self):
        fields = {"account": self.name, "password": self.password}
        return self.wire.post("jquery", "/api/v1/Auth/Login", fields), lambda body: body["code"] == 0

    def mefp(self):
        keys = self.environment["mefp_secret"], self.environment["apps"]["melink"]
        message = json.dumps({"login_name": self.phone, "password": self.password}).encode()
        envelope = {"encrypt": base64.b64encode(aes("-e", pad_pkcs7(message), *keys)).decode(), "app_from": "melink"}
        response = self.wire.post("json", "/auth/login", envelope)
        return response, lambda body: b'"result":1' in aes("-d", base64.b64decode(body["encrypt"]), *keys).replace(b" ", b"")


def log_in(user, dialect, pause, results):
    while not STOP.wait(pause):
        started, failure = time.monotonic(), None
        try:
            response, is_success = getattr(user, dialect)()
            if response.status != 200 or not is_success(response.json()):
                failure = f"{response.status} {response.body.decode(errors='replace')}"
        except Exception as error:  # any error means a failed login
            failure = repr(error)
        took = time.monotonic() - started
        with LOCK:
            results[dialect]["logins"] += 1
            results[dialect]["failures"] += failure is not None
            results["slowest_ms"] = max(results["slowest_ms"], round(took * 1000))
            if failure:
                print(f"{time.strftime('%H:%M:%S')} {dialect} after {took:.3f} s: {failure}", flush=True)


def main():
    environment, seconds, number = json.loads(pathlib.Path(sys.argv[1]).read_text()), float(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    results = {"slowest_ms": 0}
    threads = []
    for dialect, (count, pause) in USERS.items():
        results[dialect] = {"logins": 0, "failures": 0}
        for _ in range(count):
            threads.append(threading.Thread(target=log_in, args=(User(environment, number), dialect, pause, results)))
            number += 1
    for thread in threads:
        thread.start()
    STOP.wait(seconds)
    STOP.set()
    for thread in threads:
        thread.join()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
