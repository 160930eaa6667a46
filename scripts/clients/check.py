"""Makes each client call the gateway by the plan, checks the responses, and prints the table."""

import base64
import itertools
import pathlib
import sys
import tempfile
import time

from install import SetupError, install
from link import Browser, Page, Program, Relay
from plan import ROUNDS, Answer, Envelope, World, plan
from stele import Stele

CALLS = 200
HIDDEN_FROM_PAGES = {"Set-Cookie", "WWW-Authenticate"}
COLUMNS = ("client", "version", "calls", "wrong", "dropped", "connections", "result")


class Tally:
    """Counts of a client's calls and their first fault."""

    def __init__(self, verbose):
        self.version, self.fault, self.verbose = "", "", verbose
        self.answered = self.wrong = self.dropped = self.runs = self.connections = 0

    def add_fault(self, call, fault):
        fault = f"{call.method} {call.path} ({call.kind}): {fault}"
        self.fault = self.fault or fault
        if self.verbose:
            print(f"  {fault}", file=sys.stderr)

    def row(self, client):
        counts = (self.answered, self.wrong, self.dropped, self.connections)
        return (client.name, self.version, *map(str, counts), self.fault or "ok")


def find_fault(client, call, answer):
    """Describes the fault of a response; None if it is as documented."""
    if answer.status != call.status:
        return f"{answer.status} instead of {call.status}: {answer.text[:200]}"
    if call.expect not in answer.text and not (answer.status == 401 and client.hides_401):
        return f"no {call.expect} in {answer.text[:200]}"
    names = {name for name, _ in answer.headers}
    for name in {"Content-Type", *call.names} - (HIDDEN_FROM_PAGES if client.is_page else set()):
        spellings = {name.lower()} if client.lowers_names else {name, name.title()}
        if not spellings & names:
            return f"no header {name} among {', '.join(sorted(names))}"
    return None


def send_calls(client, port, program, calls):
    """Sends calls that differ only in their URLs; returns the client's line for each."""
    call = calls[0]
    kind = "form" if call.kind == "multipart" and not client.has_multipart else call.kind
    headers = dict(call.headers)
    if call.cookie and not client.keeps_cookies:
        headers["Cookie"] = call.cookie
    urls = " ".join(f"http://localhost:{port}{each.path}" for each in calls)
    program.write("\t".join([call.method, urls, kind, call.body(kind), *(f"{n}: {v}" for n, v in headers.items())]))
    lines = [program.next()]
    while len(lines) < len(calls) and not lines[-1].startswith("dropped"):
        lines.append(program.next())
    return lines + lines[-1:] * (len(calls) - len(lines))


def parse_answer(client, call, line, tally):
    """Parses a client's line into an answer; its status is 0 if the call was dropped."""
    status, body, *headers = line.split("\t")
    if status == "dropped":
        tally.dropped += 1
        tally.add_fault(call, f"dropped: {body}")
        return Answer(0, [], "")
    headers = [tuple(header.split(": ", 1)) for header in headers if ": " in header]
    answer = Answer(int(status), headers, call.read(base64.b64decode(body)))
    tally.answered += 1
    if fault := find_fault(client, call, answer):
        tally.wrong += 1
        tally.add_fault(call, fault)
    return answer


def make_calls(client, port, program, world, tally):
    """Makes the calls of the plan until the end, or until the client exits or hangs."""
    steps = plan(world)
    calls = next(steps)
    while calls:
        answers = []
        for group in [calls] if client.takes_several else [[call] for call in calls]:
            tally.runs += 1
            lines = send_calls(client, port, program, group)
            answers += [parse_answer(client, call, line, tally) for call, line in zip(group, lines)]
            if program.process.poll() is not None or program.hangs:
                return
        calls = steps.send(answers)


def start_client(client, page, work):
    """Installs a client and starts its program; returns it and its version."""
    command, folder = install(client, work)
    with (work / "log").open("w") as log:
        if client.program.endswith(".html"):
            program = Browser(command, folder, log, page)
        else:
            program = Program(command + ([page.origin] if client.is_page else []), folder, log)
    ready, version, *_ = program.next().split("\t")
    if ready != "ready":
        program.close()
        raise SetupError(f"does not start: {version}: {(work / 'log').read_text().strip()[-300:]}")
    return program, version


def check_client(client, stele, page, world, work, verbose):
    """Installs a client, makes its calls, and checks the number of connections."""
    tally = Tally(verbose)
    program, tally.version = start_client(client, page, work)
    relay, before = Relay(stele.port), stele.portal_logouts()
    try:
        make_calls(client, relay.port, program, world, tally)
    finally:
        program.close()
        relay.close()
    tally.connections, allowed = relay.connections, client.connections or tally.runs
    if not tally.fault and tally.connections > allowed:
        tally.fault = f"{tally.connections} connections instead of {allowed}"
    elif not tally.fault and tally.answered != CALLS:
        tally.fault = f"{tally.answered} answers instead of {CALLS}"
    elif not tally.fault and not stele.eventually(lambda: stele.portal_logouts() - before == ROUNDS, 5):
        tally.fault = f"{stele.portal_logouts() - before} portal sessions ended instead of {ROUNDS}"
    return tally


def check_all(clients, verbose):
    """Checks the clients one after another and prints the table; returns the exit code."""
    rows, results = [COLUMNS], set()
    page = Page()
    with tempfile.TemporaryDirectory() as folder, Stele(pathlib.Path(folder), page.origin) as stele:
        stele.add_user("admin", None, "--role", "admin")
        apps = {app: Envelope(app, *stele.add_app(app, *rest)) for app, *rest in (("melink", "wlfz"), ("wlfz",))}
        shared = {"apps": apps, "client_token": stele.command("token", "add", "kiosk"), "admin": "admin"}
        phones = (str(phone) for phone in itertools.count(13900000000))
        for client in clients:
            started, work = time.monotonic(), pathlib.Path(folder, client.name)
            work.mkdir()
            world = World(client.name, phones, stele.add_user, stele.code, **shared)
            try:
                rows.append(check_client(client, stele, page, world, work, verbose).row(client))
                results.add(int(rows[-1][-1] != "ok"))
            except SetupError as fault:
                rows.append((client.name, "missing", "", "", "", "", str(fault)))
                results.add(2)
            print(f"{client.name}: {rows[-1][-1]} ({time.monotonic() - started:.0f} s)", file=sys.stderr)
    print_table(rows)
    for complaint in stele.complaints[:5]:
        print(f"stele logged: {complaint}")
        results.add(1)
    return 1 if 1 in results else max(results)


def print_table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
