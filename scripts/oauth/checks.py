"""Runs each client against each server, and prints a line for each check, and a table."""

import json
import pathlib
import subprocess
import sys
import tempfile

import apache
from install import SetupError
from lock import HERE, install_node, install_python, link_packages, node_command
from legacy import OAuthStele
from servers import Control

COMMON = ["discovery", "discovery-8414", "client-credentials-basic", "client-credentials-post", "exchange",
          "introspect", "introspect-foreign", "introspect-garbage", "legacy", "revoke", "revoke-unknown",
          "invalid-client"]
# Algorithms that a client does not verify: Authlib's validator takes no EdDSA, and cjose, of mod_oauth2, has none.
WITHOUT = {"authlib": ["EdDSA"], "mod_oauth2": ["EdDSA"]}
# The checks that each client must report; `exchange`, `legacy` and `verify` stand for one of each subject token,
# legacy token and algorithm.
CLIENTS = {
    "openid-client": [*COMMON, "invalid-subject"],
    "oauth4webapi": [*COMMON, "verify", "revoke-foreign", "invalid-subject", "invalid-target", "unsupported-grant",
                     "escalation"],
    "authlib": [*COMMON, "verify", "invalid-subject"],
    "joserfc": ["discovery", "jwks", "verify", "verify-refuses"],
    "mod_oauth2": ["verify", "verify-refuses", "introspect", "introspect-garbage", "revoke"],
}
SERVERS = {"stele": OAuthStele, "control": Control}


def expected_checks(client, world):
    """The names of the checks that a client must report in this world."""
    several = {
        "exchange": [f"exchange-{subject['name']}" for subject in world["exchange"]],
        "legacy": [f"introspect-{legacy['name']}" for legacy in world["legacy"]],
        "verify": [f"verify-{name}" for name in world["signed"]],
        "escalation": ["invalid-scope", "wrong-kind"] if world["escalation"] else [],
    }
    return [name for check in CLIENTS[client] for name in several.get(check, [check])]


def run_program(client, world, work):
    """Runs a client's program; yields the name and the fault of each check that it reports."""
    stem = f"use_{client.replace('-', '_')}"
    if (HERE / "node" / f"{stem}.mjs").exists():
        link_packages(install_node(has_control=False), work)
        for name in ("report", stem):
            (work / f"{name}.mjs").write_text((HERE / "node" / f"{name}.mjs").read_text())
        command = [*node_command(), f"{stem}.mjs"]
    else:
        command = [install_python(), "-B", HERE / "python" / f"{stem}.py"]
    ended = subprocess.run(command, cwd=work, input=json.dumps(world), capture_output=True, text=True, timeout=120)
    for line in ended.stdout.splitlines():
        found = json.loads(line)
        yield found["check"], found.get("detail", "")
    if ended.returncode:
        raise SetupError(f"{client} ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")


def check_client(server, name, client, work):
    """Runs a client's checks against a server; returns the faults by name, with empty ones of what passed."""
    world = server.world()
    world["signed"] = {name: signed for name, signed in world["signed"].items() if name not in WITHOUT.get(client, [])}
    run = apache.run_checks(world, work) if client == "mod_oauth2" else run_program(client, world, work)
    results = {}
    try:
        for check, fault in run:
            results[check] = fault
            print(f"{name:8} {client:14} {check:28} {fault or 'ok'}", flush=True)
    except (SetupError, OSError, subprocess.TimeoutExpired) as fault:
        print(f"{name:8} {client:14} {fault}", flush=True)
        results["runs"] = str(fault)
    expected = expected_checks(client, world)
    for check in set(expected) - results.keys():
        results[check] = "not reported"
    for check in results.keys() - set(expected) - {"runs"}:
        results[check] = "not expected: add it to CLIENTS"
    return results


def check_all(clients, servers):
    """Runs all checks and prints the table; returns the exit code."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="stele-oauth-") as folder:
        for name in servers:
            work = pathlib.Path(folder, name)
            work.mkdir()
            with SERVERS[name](work) as server:
                for client in clients:
                    (own := work / client).mkdir()
                    results[name, client] = check_client(server, name, client, own)
            for complaint in getattr(server, "complaints", [])[:5]:
                print(f"stele logged: {complaint}")
                results[name, "log"] = {"complaint": complaint}
    print_table(results, clients, servers)
    faults = [fault for found in results.values() for fault in found.values() if fault]
    total = sum(len(found) for found in results.values())
    print(f"\n{total - len(faults)} of {total} checks passed")
    for (server, client), found in results.items():
        for check, fault in found.items():
            if fault:
                print(f"{server} {client} {check}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def print_table(results, clients, servers):
    """A row for each check, a column for each client; a cell has the results of Stele and of the control."""

    def cell(client, check):
        found = [results[server, client].get(check) for server in servers]
        marks = ["-" if fault is None else "failed" if fault else "ok" for fault in found]
        return "" if set(marks) == {"-"} else " / ".join(marks)

    checks = dict.fromkeys(check for found in results.values() for check in found)
    rows = [[" / ".join(servers), *clients]]
    rows += [[check, *(cell(client, check) for client in clients)] for check in checks]
    widths = [max(map(len, column)) for column in zip(*rows)]
    print()
    for row in rows:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip())
