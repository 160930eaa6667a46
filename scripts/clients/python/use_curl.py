"""curl with HTTP/1.0: one run, and so one connection, for each call."""

import pathlib
import subprocess
import tempfile

from lines import serve

folder = pathlib.Path(tempfile.mkdtemp())


def body(call):
    match call.kind:
        case "form":
            return [word for name, value in call.fields.items() for word in ("--data-urlencode", f"{name}={value}")]
        case "multipart":
            return [word for name, value in call.fields.items() for word in ("--form-string", f"{name}={value}")]
        case "json":
            return ["-H", "Content-Type: application/json", "-d", call.text]
    # Without "-d" a POST has no Content-Length, which HTTP/1.0 requires (RFC 1945 §7.2.2).
    return ["-d", call.text] if call.method == "POST" else []


def send(call):
    headers = [word for name, value in call.headers.items() for word in ("-H", f"{name}: {value}")]
    files = ["-D", folder / "head", "-o", folder / "body"]
    (folder / "body").write_bytes(b"")
    command = ["curl", "--http1.0", "--silent", "--show-error", *files, *headers, *body(call), call.url]
    subprocess.run(command, check=True, capture_output=True)
    status, *names = (folder / "head").read_text().strip().split("\n")
    return int(status.split()[1]), [name.strip().split(": ", 1) for name in names], (folder / "body").read_bytes()


serve(subprocess.check_output(["curl", "--version"], text=True).split()[1], send)
