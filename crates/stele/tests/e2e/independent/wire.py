"""Requests in every form that the API documents use, and comparison of responses with the documents."""

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


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        kind = self.headers.get("content-type", "")
        assert kind.startswith("application/json"), f"content type {kind!r}: {self.body!r}"
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=parse_unique_names)


def parse_unique_names(pairs):
    """Parses a JSON object in the order in which it was sent. Each name may occur only once."""
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a name twice: {names}"
    return dict(pairs)


def assert_same(got, expected, where):
    """Compares a value with the document: same names in the same order, same types, same texts. In `expected`, a pattern
    stands for any text that it matches, and a type for any value of that type."""
    if isinstance(expected, dict):
        assert type(got) is dict, f"{where}: not an object: {got!r}"
        assert list(got) == list(expected), f"{where}: fields {list(got)}, documented {list(expected)}"
        for name in expected:
            assert_same(got[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, re.Pattern):
        assert type(got) is str and expected.fullmatch(got), f"{where}: {got!r} is not {expected.pattern}"
    elif isinstance(expected, type):
        assert type(got) is expected, f"{where}: {got!r} is not of type {expected.__name__}"
    else:
        assert type(got) is type(expected) and got == expected, f"{where}: {got!r}, documented {expected!r}"


class Wire:
    def __init__(self, settings):
        self.settings = settings
        self.host = urllib.parse.urlsplit(settings["url"]).netloc
        self.used = 0

    def call(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, names, response.read())
        finally:
            connection.close()

    def post(self, form, path, fields, headers=()):
        """Posts `fields` in one of FORMS."""
        kind, body, query = FORMS[form](fields)
        return self.call("POST", path + query, body, {**({"Content-Type": kind} if kind else {}), **dict(headers)})

    def expect(self, response, expected, status=200):
        global CHECKS
        CHECKS += 1
        assert response.status == status, f"status {response.status}, not {status}: {response.body.decode()!r}"
        got = response.json()
        assert_same(got, expected, "response")
        return got

    def timestamp(self):
        """A timestamp in seconds since 1970. Every call returns another one, because a proof is accepted only once."""
        self.used += 1
        return int(time.time()) + self.used

    def codes(self, to):
        if not os.path.exists(self.settings["outbox"]):
            return []
        with open(self.settings["outbox"], encoding="utf-8") as lines:
            sent = [json.loads(line) for line in lines if line.endswith("\n")]
        for line in sent:
            assert_same(line, {"at": ANY, "channel": ANY, "to": ANY, "purpose": ANY, "code": re.compile("[0-9]{6}")}, "outbox")
        return [line["code"] for line in sent if line["to"] == to]

    def code(self, to, send):
        """Calls `send()` and waits for the code to `to`, since delivery is asynchronous."""
        before = len(self.codes(to))
        send()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            codes = self.codes(to)
            if len(codes) > before:
                return codes[-1]
            time.sleep(0.01)
        raise AssertionError(f"no code was sent to {to}")


def as_json(fields):
    return "application/json", json.dumps(fields).encode(), ""


def as_form(fields):
    return "application/x-www-form-urlencoded; charset=UTF-8", urllib.parse.urlencode(fields).encode(), ""


def as_multipart(fields):
    boundary = "----an-independent-client"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    return f"multipart/form-data; boundary={boundary}", ("".join(parts) + f"--{boundary}--\r\n").encode(), ""


def as_jquery(fields):
    """As jQuery with `contentType: "multipart/form-data"`: an urlencoded body, and no boundary."""
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
    """Encrypts (`-e`) or decrypts (`-d`) with AES-256-CBC through openssl; the caller adds and removes the padding."""
    hexed = [binascii.hexlify(part.encode("ascii")).decode() for part in (key, iv)]
    command = ["openssl", "enc", "-aes-256-cbc", direction, "-K", hexed[0], "-iv", hexed[1], "-nopad", "-nosalt"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout
