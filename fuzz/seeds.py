#!/usr/bin/env python3
"""Writes the seeds of each target to corpus/<target>/, from the golden transcripts, framing cases and edge cases."""
import hashlib
import json
import pathlib
import re
import sys
import tomllib
from urllib.parse import parse_qsl

ROOT = pathlib.Path(__file__).resolve().parent
CORPUS = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "corpus"
SEEDS: dict[str, set[bytes]] = {}


def seed(target: str, data: str | bytes) -> None:
    SEEDS.setdefault(target, set()).add(data.encode() if isinstance(data, str) else data)


def field_values(body: str) -> list[str]:
    """The values of the fields of a body, JSON or form."""
    try:
        return [str(value) for value in json.loads(body).values()]
    except (ValueError, AttributeError):
        return [value for _, value in parse_qsl(body)]


def add_transcript(text: str) -> None:
    """The requests of a golden transcript, whole and in parts."""
    for exchange in text.split("\n=====\n"):
        request, _, response = exchange.partition("\n-----\n")
        head, _, body = request.partition("\n\n")
        line, *headers = head.strip().splitlines()
        path, _, query = line.split(" ")[1].partition("?")
        fields = dict(header.split(": ", 1) for header in headers if ": " in header)
        body = body.strip("\n")
        call = "\n".join([line.removesuffix(" HTTP/1.1"), *headers])
        seed("call", f"{call}\n\n{body}")
        for plain in PLAIN if path.startswith("/auth/") else []:
            seed("call", f"{call}\n\n{plain}")
        seed("path", path)
        seed("body", fields.get("content-type", "") + "\n" + body)
        seed("json" if body.startswith("{") else "urlencoded", body if body.startswith("{") else query + "\n" + body)
        if path.startswith("/oauth2/"):
            seed("oauth_form", "\n".join([fields.get("authorization", ""), query, body]))
        for name in ("authorization", "token", "cookie"):
            if name in fields:
                seed("token", fields[name])
        for value in field_values(body):
            for target in ("base64_form", "envelope", "identifier", "proof"):
                seed(target, value)
        for token in re.findall(r"eyJ[\w.-]+|\b[0-9a-f]{32}\b", response):
            seed("token", token)
            seed("proof", token)


def add_edge_cases() -> None:
    for path in ("/i//login", "/auth/../i/login", "/api/v1/%61uth/Login", "/i/login;x=/auth/", "/API/VI/aUTH/Login",
                 "/code/.%2e/auth/x", "/i/\\auth", "/container/api/v1/cloudbox/tms/auth"):
        seed("path", path)
    for text in ('{"username":1e3,"password":null}', '{"a":{"b":[1,2]},"a":1}', '\ufeff{"code":"1"}', "[" * 200, '{"a":"\\ud800"}'):
        seed("json", text)
        seed("body", "application/json\n" + text)
    multipart = '--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nzhang\r\n--x--\r\n'
    seed("body", "multipart/form-data; boundary=x\n" + multipart)
    seed("body", "multipart/form-data\nusername=zhang&password=1")
    seed("body", 'multipart/mixed; boundary="----=_Part_1"\npreamble\n------=_Part_1\nContent-Disposition: form-data;\n name=a\n\n1\n')
    seed("body", "\n%7B%22username%22%3A%22zhang%22%7D=")
    for lenient in ("{username:'zhang',}", '{"a":"eA==\n", // 1\n"b":1.0}', '{"a":1795691504.0,"A":1e9}\0\0', '{"a":"1"}='):
        seed("body", "application/json\n" + lenient)
    for charset in "utf-16", "utf-16-be", "gbk", "utf-8-sig":
        seed("body", f"application/json; charset={charset}\n".encode() + '{"a":"张三"}'.encode(charset))
    seed("body", "\na=%D5%C5&b=%C8%FD")
    seed("urlencoded", "a=1&A=2&a=3\nb=%D5%C5&b=%D5%C5")
    for text in ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
                 "{raw}$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
                 "$2y$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
                 "$argon2id$v=19$m=4294967295,t=4294967295,p=16777215$c2FsdHNhbHQ$aGFzaA",
                 "5f4dcc3b5aa765d61d8327deb882cf99",
                 "{raw}$md5ps$$5f4dcc3b5aa765d61d8327deb882cf99",
                 "{wrapped}$md5ps$00|$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaA",
                 "$md5ps$73616c74$" + hashlib.md5(b"xsalt").hexdigest(),
                 "$md5sp$73616c74$" + hashlib.md5(b"saltx").hexdigest()):
        seed("phc", text)
    for text in ("13800138000", "+8613800138000", "Zhang.San@Example.COM", "zhang_san", "张三", "100001",
                 "6f9619ff-8b86-d011-b42d-00c04fc964ff", "a@b", "ｚｈａｎｇ"):
        seed("identifier", text)
    for text in ("1476180000", "-1", "1e9", "18446744073709551616", "0x10", " 1", "123456"):
        seed("proof", text)
    for text in ("192.0.2.7", "10.1.1.1, 192.0.2.7", "192.0.2.7, 10.0.0.2\n10.0.0.3", "[2001:db8::1]:443", "unknown, ,"):
        seed("headers", text)
    for text in ("Basic d2ViOng=\n\ntoken=x", "basic  d2ViOng\nclient_id=x\nclient_id=web&client_secret=%zz", "Basic Og==\n\n",
                 "\n\nclient_id=a%2Bb&client_secret=%C3%A9&resource=x&resource=y&scope=a+b", "Bearer x\n\nscope=&scope=a"):
        seed("oauth_form", text)
    token = "0123456789abcdef0123456789abcdef"
    for path in ("/", "/x?y=1", "/admin/", "/x/..;/admin", "/%61dmin", "/%2561dmin", "/x/%2e%2e/admin", "//admin", "/x\\..\\admin",
                 "/admin%3bx", "/%E7%AE%A1", f"/?token={token}"):
        seed("forward_auth", f"App.Example.com:443\n{path}\nBearer {token}\n")
        seed("forward_auth", f"app.example.com\n{path}\n\na=b; stele_session={token}")
    for text in ("Bearer eyJhbGciOiJub25lIn0.e30.", "bearer", "eyJhbGciOiJIUzI1NiIsImtpZCI6ImVkZHNhLTEifQ.e30.AAAA"):
        seed("token", text)


def add_framing_cases(text: str) -> None:
    """The requests of the gateway's framing tests, byte for byte. The first byte gives the size of the pieces."""
    marks = {"<LF>": "\n", "<CR>": "\r", "<NUL>": "\0", "<TAB>": "\t", "<VT>": "\v"}
    repeated = {"x": "x", "line": "\r\n", "header": "A: b\r\n"}
    for case in tomllib.loads(text)["case"]:
        request = case.get("send", "").replace("\n", "\r\n")
        for mark, byte in marks.items():
            request = request.replace(mark, byte)
        request = re.sub(r"<(\w+)\*(\d+)>", lambda m: repeated.get(m[1], "") * min(int(m[2]), 40), request)
        for first_byte in "\0", "?":
            seed("http_request", first_byte + request)


# The plaintexts of MeFP's envelopes.
PLAIN = [
    line.removeprefix("> ")
    for path in sorted(ROOT.parent.glob("svc-*/tests/golden/*.plain"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if line.startswith("> ")
]
for text in PLAIN:
    seed("json", text)
    seed("envelope", text)
for path in sorted(ROOT.parent.glob("svc-*/tests/golden/*.http")):
    add_transcript(path.read_text(encoding="utf-8"))
add_edge_cases()
for path in sorted(ROOT.parent.glob("gateway/tests/gateway/framing/cases/*.toml")):
    add_framing_cases(path.read_text(encoding="utf-8"))
for target, seeds in sorted(SEEDS.items()):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in seeds:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
print(", ".join(f"{target} {len(seeds)}" for target, seeds in sorted(SEEDS.items())))
