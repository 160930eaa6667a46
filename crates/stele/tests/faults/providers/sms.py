"""A fake gateway for short messages that prints each message as a line of JSON and verifies its signature.

    sms.py SECRET

The first line is the port. The middle digits of a phone select the status of the first response: 138 503 12345 gets
503, with a `Retry-After` of two seconds, and then 200. The gateway exits at the end of its standard input.
"""

import hashlib
import hmac
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = sys.argv[1].encode()
SEEN = set()
LOCK = threading.Lock()


def report(**line):
    with LOCK:
        print(json.dumps(line), flush=True)


class Gateway(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at, tag = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", self.headers["X-Stele-Signature"]).groups()
        expected_tag = hmac.new(SECRET, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        message = json.loads(body)
        failure = re.fullmatch(r"1\d\d([45]\d\d)\d{5}", message["to"])
        status = int(failure[1]) if failure and message["to"] not in SEEN else 200
        SEEN.add(message["to"])
        self.send_response(status)
        if status >= 500:
            self.send_header("Retry-After", "2")
        self.send_header("Content-Length", "0")
        self.end_headers()
        report(
            signed=hmac.compare_digest(tag, expected_tag) and abs(time.time() - int(at)) < 60,
            key=self.headers["Idempotency-Key"],
            type=self.headers["Content-Type"],
            path=self.path,
            message=message,
            answered=status,
            at=time.monotonic(),
        )

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


server = Server(("127.0.0.1", 0), Gateway)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
report(port=server.server_port)
server.serve_forever()
