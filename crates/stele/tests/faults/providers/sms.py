"""An SMS gateway that prints each received message as a line of JSON, and verifies its signature independently.

    sms.py SECRET

The first line is the port. The middle digits of a phone number select the first response: 138 503 12345 gets 503 with a
`Retry-After` of two seconds, later 200. The gateway stops when its standard input closes.
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


def print_json(**line):
    with LOCK:
        print(json.dumps(line), flush=True)


class Gateway(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at, tag = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", self.headers["X-Stele-Signature"]).groups()
        expected = hmac.new(SECRET, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        message = json.loads(body)
        scripted = re.fullmatch(r"1\d\d([45]\d\d)\d{5}", message["to"])
        status = int(scripted[1]) if scripted and message["to"] not in SEEN else 200
        SEEN.add(message["to"])
        self.send_response(status)
        if status >= 500:
            self.send_header("Retry-After", "2")
        self.send_header("Content-Length", "0")
        self.end_headers()
        print_json(
            signed=hmac.compare_digest(tag, expected) and abs(time.time() - int(at)) < 60,
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
print_json(port=server.server_port)
server.serve_forever()
