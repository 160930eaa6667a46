"""Clients that log in and change passwords."""
import base64
import hashlib
import multiprocessing
import random
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable

from installation import Up
from servers import DIGEST, PASSWORD

# Users who log in: base1, base2 … Connections of each of the two client processes.
USERS, CONNECTIONS = 500, 8
SALTED_LOGIN = "/api/v1/cloudbox/smarttms/auth/authsalt"


def request(path: str, form: str) -> bytes:
    client = ".".join(str(random.randrange(1, 255)) for _ in range(4))
    return (
        f"POST {path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}"
    ).encode()


def salted_login(index: int, moment: int) -> bytes:
    """A login with a proof of its own for each index. Moments are Unix times in milliseconds."""
    moment -= index // USERS
    proof = hashlib.md5(f"{DIGEST}{moment}".encode()).hexdigest()
    form = f"username=base{index % USERS + 1}&password={proof}&timestamp={moment}"
    return request(SALTED_LOGIN, form)


def raw_login(index: int, _: int) -> bytes:
    password = base64.urlsafe_b64encode(PASSWORD.encode()).decode()
    return request("/i/login", f"username=137{index % USERS + 1:08}&password={password}")


def is_success(connection: socket.socket) -> bool:
    """Reads a response; whether it accepts the login."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return False
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head.split(b" ")[1] == b"200" and b'"success":false' not in body


def send_logins(ports: list[int], requests: list[bytes], seconds: float, results: multiprocessing.Queue) -> None:
    connections = [socket.create_connection(("127.0.0.1", ports[n % len(ports)])) for n in range(CONNECTIONS)]
    began, sent, succeeded = time.monotonic(), 0, 0
    while time.monotonic() - began < seconds:
        for n, connection in enumerate(connections):
            connection.sendall(requests[(sent + n) % len(requests)])
        succeeded += sum(map(is_success, connections))
        sent += len(connections)
    results.put((succeeded / (time.monotonic() - began), sent - succeeded))


def measure_logins(ups: list[Up], login, seconds: float) -> float:
    """Successful logins per second, from two processes. A proof is used once: each process has its own."""
    moment = int(time.time() * 1000)
    count = USERS * 100
    results = multiprocessing.Queue()
    clients = []
    for first in range(0, 2 * count, count):
        requests = [login(index, moment) for index in range(first, first + count)]
        arguments = ([up.port for up in ups], requests, seconds, results)
        clients.append(multiprocessing.Process(target=send_logins, args=arguments))
    [client.start() for client in clients]
    rates, failures = zip(*(results.get() for _ in clients))
    [client.join() for client in clients]
    if sum(failures):
        sys.exit(f"{sum(failures)} logins failed")
    return sum(rates)


def change_password(moment: int, user: str, old: str, new: str) -> bytes:
    proof = hashlib.md5(f"{old}{moment}".encode()).hexdigest()
    form = f"user_id={user}&orig_password={proof}&new_password={new}&timestamp={moment}"
    return request("/api/v1/cloudbox/auth/pwdreset", form)


def record_logins(port: int, requests: list[bytes], is_over, results: multiprocessing.Queue) -> None:
    """Logs in without a pause. The result is the time of each success, and the number of failures."""
    connection, times, failures = socket.create_connection(("127.0.0.1", port), timeout=60), [time.monotonic()], 0
    for login in requests:
        if is_over.is_set():
            break
        connection.sendall(login)
        succeeded = is_success(connection)
        if succeeded:
            times.append(time.monotonic())
        else:
            failures += 1
    results.put(("logins", [*times, time.monotonic()], failures))


def record_changes(port: int, user: str, is_over, results: multiprocessing.Queue) -> None:
    """Changes one user's password without a pause. The result is that of `record_logins`."""
    connection, times, failures = socket.create_connection(("127.0.0.1", port), timeout=60), [time.monotonic()], 0
    digests = [DIGEST, hashlib.md5(b"another-password").hexdigest()]
    # The last change restores the password.
    while not is_over.is_set() or digests[0] != DIGEST:
        connection.sendall(change_password(int(time.time() * 1000), user, *digests))
        if is_success(connection):
            times.append(time.monotonic())
            digests.reverse()
        else:
            failures += 1
    results.put(("changes of passwords", [*times, time.monotonic()], failures))


def longest_gap(times: list[float]) -> float:
    return max(later - earlier for earlier, later in zip(times, times[1:]))


def record_gaps(ups: list[Up], action: Callable[[], object]) -> tuple[dict[str, tuple[float, int]], float]:
    """The longest time without success and the number of failures while `action` runs, and its duration."""
    is_over, results = multiprocessing.Event(), multiprocessing.Queue()
    moment = int(time.time() * 1000)
    body = salted_login(USERS - 1, moment).split(b"\r\n\r\n")[1]
    login = urllib.request.urlopen(f"http://127.0.0.1:{ups[0].port}{SALTED_LOGIN}", body).read()
    user = re.search(rb'"user_id":"([^"]+)"', login).group(1).decode()
    # The last user's password changes.
    logins = [salted_login(index, moment) for index in range(USERS * 150) if index % USERS != USERS - 1]
    clients = [multiprocessing.Process(target=record_logins, args=(ups[0].port, logins, is_over, results)),
               multiprocessing.Process(target=record_changes, args=(ups[-1].port, user, is_over, results))]
    [client.start() for client in clients]
    time.sleep(1)
    began = time.monotonic()
    action()
    seconds = time.monotonic() - began
    time.sleep(1)
    is_over.set()
    collected = [results.get() for _ in clients]
    [client.join() for client in clients]
    return {kind: (longest_gap(times), failures) for kind, times, failures in collected}, seconds
