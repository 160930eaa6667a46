"""Connections of a client program: the TCP relay in front of the gateway, and its standard input and output."""

import http.server
import queue
import socket
import struct
import subprocess
import threading

from install import CACHE, HERE

WAIT = 60  # seconds for an answer, including a browser's start


class Relay:
    """Relays connections to the gateway, and counts them."""

    def __init__(self, gateway):
        self.gateway, self.connections = gateway, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # The listener was closed.
            self.connections += 1
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client):
        with client, socket.create_connection(("127.0.0.1", self.gateway)) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upload = threading.Thread(target=self.copy, args=(client, server), daemon=True)
            upload.start()
            self.copy(server, client)
            upload.join()

    @staticmethod
    def copy(source, sink):
        """Copies until the end, and closes the other side in the same way: by FIN or by RST."""
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sink.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Program:
    """A client that reads calls on its standard input."""

    hangs = False

    def __init__(self, command, folder, log):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=log, encoding="utf-8")
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("dropped\tthe client has exited")

    def write(self, line):
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # `read` reports that the client has exited.

    def next(self):
        """The client's next line."""
        try:
            return self.lines.get(timeout=WAIT)
        except queue.Empty:
            self.hangs = True
            return f"dropped\tno answer within {WAIT} s"

    def end(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def close(self):
        self.end()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Browser(Program):
    """A client that is a page in a browser."""

    def __init__(self, command, folder, log, page):
        self.calls, self.lines = page.calls, page.answers
        self.process = subprocess.Popen([*command, f"{page.origin}/"], cwd=folder, stdout=log, stderr=log)

    def write(self, line):
        self.calls.put(line)

    def end(self):
        self.calls.put("")  # An empty call makes the page stop polling.
        self.process.terminate()


class Page(http.server.ThreadingHTTPServer):
    """Serves the page of another origin. Its script posts each answer to /next and receives the next call."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.calls, self.answers = queue.Queue(), queue.Queue()
        self.origin = f"http://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class PageHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files = {
        "/": (HERE / "browser/index.html", "text/html"),
        "/ajax.js": (HERE / "browser/ajax.js", "text/javascript"),
        "/jquery.js": (CACHE / "node/node_modules/jquery/dist/jquery.js", "text/javascript"),
    }

    def do_GET(self):
        file, kind = self.files.get(self.path, (None, "text/plain"))
        self.answer(200 if file else 404, file.read_bytes() if file else b"", kind)

    def do_POST(self):
        self.server.answers.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer(200, self.server.calls.get().encode(), "text/plain; charset=utf-8")

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
