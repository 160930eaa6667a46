"""Shared by the Python clients: reads calls as lines from standard input, writes answers as lines to standard output."""

import base64
import json
import sys
from dataclasses import dataclass
from urllib.parse import parse_qsl


@dataclass
class Call:
    method: str
    urls: list
    kind: str  # none, form, multipart, json or text
    text: str  # the body; for form and multipart, the fields in URL encoding
    headers: dict

    @property
    def url(self):
        return self.urls[0]

    @property
    def fields(self):
        return dict(parse_qsl(self.text, keep_blank_values=True))

    @property
    def json(self):
        return json.loads(self.text)


def keywords(call, text):
    """The body as keyword arguments of requests and httpx; `text` is the keyword for a raw body."""
    match call.kind:
        case "form":
            return {"data": call.fields}
        case "multipart":
            return {"files": {name: (None, value) for name, value in call.fields.items()}}
        case "json":
            return {"json": call.json}
        case "text":
            return {text: call.text}
    return {}


def serve(version, send):
    """Writes for each line the result of `send`: (status, headers as pairs, body), or a list of these."""
    print("ready", version, sep="\t", flush=True)
    for line in sys.stdin:
        method, urls, kind, text, *headers = line.rstrip("\n").split("\t")
        call = Call(method, urls.split(" "), kind, text, dict(header.split(": ", 1) for header in headers))
        try:
            answers = send(call)
            for status, names, body in answers if isinstance(answers, list) else [answers]:
                lines = (f"{name}: {value}" for name, value in names)
                print(status, base64.b64encode(body).decode(), *lines, sep="\t", flush=True)
        except Exception as fault:  # Any exception is the library's reaction to the response.
            print("dropped", " ".join(repr(fault).split()), sep="\t", flush=True)
