"""Sends requests in every form that the API documents use, and compares responses with the documents."""

import base64
import binascii
import hashlib
import http.client
import json
import os
import re
import subprocess
import time
import urllib.parse

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HEX32 = re.compile(r"[0-9a-f]{32}")
ANY = re.compile(r"(?s).+")
DECIMAL = re.compile(r"[0-9]+")
CHECKS = 0


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        kind = self.headers.get("content-type", "")
        assert kind.startswith("application/json"), f"content type {kind!r}: {self.body!r}"
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=once)


def once(pairs):
    """An object in received order; rejects duplicate names."""
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a name twice: {names}"
    return dict(pairs)


def same(got, want, where):
    """Compares a value with the documented one: the same names in the same order, the same types and texts. A pattern
    matches any text that it describes, a type any value of it."""
    if isinstance(want, dict):
        assert type(got) is dict, f"{where}: not an object: {got!r}"
        assert list(got) == list(want), f"{where}: fields {list(got)}, documented {list(want)}"
        for name in want:
            same(got[name], want[name], f"{where}.{name}")
    elif isinstance(want, re.Pattern):
        assert type(got) is str and want.fullmatch(got), f"{where}: {got!r} is not {want.pattern}"
    elif isinstance(want, type):
        assert type(got) is want, f"{where}: {got!r} is no {want.__name__}"
    else:
        assert type(got) is type(want) and got == want, f"{where}: {got!r}, documented {want!r}"


class Wire:
    def __init__(self, around):
        self.around = around
        self.host = urllib.parse.urlsplit(around["url"]).netloc
        self.used = 0

    def call(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def post(self, form, path, fields, headers=()):
        """Posts `fields` in one of FORMS."""
        kind, body, query = FORMS[form](fields)
        return self.call("POST", path + query, body, {**({"Content-Type": kind} if kind else {}), **dict(headers)})

    def expect(self, answer, want, status=200):
        global CHECKS
        CHECKS += 1
        assert answer.status == status, f"status {answer.status}, not {status}: {answer.body.decode()!r}"
        got = answer.json()
        same(got, want, "answer")
        return got

    def timestamp(self):
        """UTC seconds, different on each call, since a proof is accepted once."""
        self.used += 1
        return int(time.time()) + self.used

    def codes(self, to):
        if not os.path.exists(self.around["outbox"]):
            return []
        with open(self.around["outbox"], encoding="utf-8") as lines:
            sent = [json.loads(line) for line in lines if line.endswith("\n")]
        for line in sent:
            same(line, {"at": ANY, "channel": ANY, "to": ANY, "purpose": ANY, "code": re.compile("[0-9]{6}")}, "outbox")
        return [line["code"] for line in sent if line["to"] == to]

    def code(self, to, send):
        """Waits for the code that `send()` sends to `to`; delivery is asynchronous."""
        before = len(self.codes(to))
        send()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            codes = self.codes(to)
            if len(codes) > before:
                return codes[-1]
            time.sleep(0.01)
        raise AssertionError(f"no code came to {to}")


def as_json(fields):
    return "application/json", json.dumps(fields).encode(), ""


def as_form(fields):
    return "application/x-www-form-urlencoded; charset=UTF-8", urllib.parse.urlencode(fields).encode(), ""


def as_multipart(fields):
    boundary = "----an-independent-client"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    return f"multipart/form-data; boundary={boundary}", ("".join(parts) + f"--{boundary}--\r\n").encode(), ""


def as_jquery(fields):
    """The body that jQuery sends with `contentType: "multipart/form-data"`: URL-encoded, without a boundary."""
    return "multipart/form-data", urllib.parse.urlencode(fields).encode(), ""


def as_query(fields):
    return None, None, "?" + urllib.parse.urlencode(fields)


FORMS = {"json": as_json, "form": as_form, "multipart": as_multipart, "jquery": as_jquery, "query": as_query}
BODIES = ("json", "form", "multipart", "jquery")


def md5(text):
    return hashlib.md5(text.encode("utf-8")).hexdigest()


def salted(password, timestamp):
    return md5(md5(password) + str(timestamp))


def b64(text):
    return base64.b64encode(text.encode("utf-8")).decode()


def aes(direction, data, key, iv):
    """AES-256-CBC without padding; the caller pads."""
    hexed = [binascii.hexlify(part.encode("ascii")).decode() for part in (key, iv)]
    command = ["openssl", "enc", "-aes-256-cbc", direction, "-K", hexed[0], "-iv", hexed[1], "-nopad", "-nosalt"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout
