"""wget: one run for each call, or for several URLs with the same request; keep-alive within a run."""

import re
import subprocess

from lines import serve

TYPES = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


def send(call):
    headers = dict(call.headers)
    if call.kind in TYPES:
        headers["Content-Type"] = TYPES[call.kind]
    options = [f"--header={name}: {value}" for name, value in headers.items()]
    if call.method == "POST":
        options.append(f"--post-data={call.text}")
    show = ["--no-verbose", "--server-response", "--content-on-error", "--output-document=-"]
    run = subprocess.run(["wget", *show, *options, *call.urls], capture_output=True)
    answers, rest = [], run.stdout
    for head in re.findall(rb"^  (HTTP/.*\n(?:  .*\n)*)", run.stderr, re.M):
        status, *lines = head.decode().split("\n")
        names = [line.strip().split(": ", 1) for line in lines if line]
        status, length = int(status.split()[1]), int(dict(names)["Content-Length"])
        if status == 401:
            length = 0  # wget expects credentials and hides the body of a 401.
        answers.append((status, names, rest[:length]))
        rest = rest[length:]
    if len(answers) != len(call.urls):
        raise RuntimeError(f"{len(answers)} answers to {len(call.urls)} URLs, exit code {run.returncode}: {run.stderr}")
    return answers


serve(subprocess.check_output(["wget", "--version"], text=True).split()[2], send)
