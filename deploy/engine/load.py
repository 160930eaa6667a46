#!/usr/bin/env python3
"""Logs people in by every dialect until it is told to stop, and counts.

    load.py SURROUNDINGS SECONDS FIRST

SURROUNDINGS is the independent client's file (crates/stele/tests/e2e/independent), with which this shares its requests;
the users are load-FIRST and those that follow. It stops after SECONDS or on SIGTERM, prints a line a failure and at
last one JSON line: the logins and the failures of each dialect, and the slowest login in milliseconds."""

import base64
import json
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "crates/stele/tests/e2e/independent"))

from mefp import pkcs7  # noqa: E402
from salted import LOGIN, TMS  # noqa: E402
from wire import Wire, aes, b64, salted  # noqa: E402

# How many log in at once by each dialect, and how many seconds each waits between two. The service that is replaced
# has the most, and no password hash to wait for.
CROWD = {"cloudbox": (8, 0.2), "tms": (2, 0.25), "portal": (1, 0.5), "mefp": (1, 0.5), "jwt": (1, 0.5)}
STOP = threading.Event()
LOCK = threading.Lock()


class Person:
    """One who logs in again and again. A proof is accepted once, and its timestamp may be 300 s off: so a user can have
    one a second, and a store of some 280 to begin with."""

    def __init__(self, around, number):
        self.wire, self.name, self.password = Wire(around), f"load-{number}", f"load-{number}-secret"
        self.phone, self.around, self.last = f"186{number:08}", around, 0

    def proof(self):
        self.last = max(self.last + 1, int(time.time()))
        while self.last - time.time() > 280 and not STOP.wait(0.1):
            pass
        return {"username": self.name, "password": salted(self.password, self.last), "timestamp": self.last}

    def cloudbox(self):
        return self.wire.post("json", LOGIN, self.proof()), lambda body: body["code"] == "0000"

    def tms(self):
        headers = {"Authorization": self.around["client_token"]}
        return self.wire.post("json", TMS + "authsalt", self.proof(), headers), lambda body: body["code"] == "0000"

    def portal(self):
        fields = {"username": self.phone, "password": b64(self.password)}
        return self.wire.post("form", "/i/login", fields), lambda body: body["status"]["status_code"] == "200"

    def jwt(self):
        fields = {"account": self.name, "password": self.password}
        return self.wire.post("jquery", "/api/v1/Auth/Login", fields), lambda body: body["code"] == 0

    def mefp(self):
        keys = self.around["mefp_secret"], self.around["apps"]["melink"]
        message = json.dumps({"login_name": self.phone, "password": self.password}).encode()
        envelope = {"encrypt": base64.b64encode(aes("-e", pkcs7(message), *keys)).decode(), "app_from": "melink"}
        answer = self.wire.post("json", "/auth/login", envelope)
        return answer, lambda body: b'"result":1' in aes("-d", base64.b64decode(body["encrypt"]), *keys).replace(b" ", b"")


def log_in(person, dialect, pause, told):
    while not STOP.wait(pause):
        begun, why = time.monotonic(), None
        try:
            answer, good = getattr(person, dialect)()
            if answer.status != 200 or not good(answer.json()):
                why = f"{answer.status} {answer.body.decode(errors='replace')}"
        except Exception as error:  # whatever it is, a client was not logged in
            why = repr(error)
        took = time.monotonic() - begun
        with LOCK:
            told[dialect]["logins"] += 1
            told[dialect]["failures"] += why is not None
            told["slowest_ms"] = max(told["slowest_ms"], round(took * 1000))
            if why:
                print(f"{time.strftime('%H:%M:%S')} {dialect} after {took:.3f} s: {why}", flush=True)


def main():
    around, seconds, number = json.loads(pathlib.Path(sys.argv[1]).read_text()), float(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    told = {"slowest_ms": 0}
    crowd = []
    for dialect, (size, pause) in CROWD.items():
        told[dialect] = {"logins": 0, "failures": 0}
        for _ in range(size):
            crowd.append(threading.Thread(target=log_in, args=(Person(around, number), dialect, pause, told)))
            number += 1
    for member in crowd:
        member.start()
    STOP.wait(seconds)
    STOP.set()
    for member in crowd:
        member.join()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
