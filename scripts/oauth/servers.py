"""The control: oidc-provider, a certified server, and what the clients need to call it."""

import base64
import json
import secrets
import socket
import subprocess
import time
import urllib.parse
import urllib.request

from install import SetupError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from lock import HERE, install_node, link_packages, node_command

EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
ALGORITHMS = ("RS256", "EdDSA", "ES256")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(poll, seconds):
    """Calls `poll` until its result is true or the time is over; returns the last result."""
    end = time.monotonic() + seconds
    while not (found := poll()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def fetch(url, client=None, **fields):
    """The JSON response of a GET, or of a POST of these fields by this client; None if its body is empty."""
    request = urllib.request.Request(url, data=urllib.parse.urlencode(fields).encode() if fields else None)
    if client:
        basic = base64.b64encode(f"{client['id']}:{client['secret']}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or "null")


class Control:
    """oidc-provider; a context manager that stops it."""

    def __init__(self, work):
        self.work = work
        link_packages(install_node(has_control=True), work)
        (work / "control.mjs").write_text((HERE / "control.mjs").read_text())

    def __enter__(self):
        both = {"grants": ["client_credentials", EXCHANGE_GRANT], "auth": "client_secret_basic"}
        self.clients = {name: {"id": name, "secret": secrets.token_urlsafe(32)}
                        for name in ("shop", "poster", "other", "orders", "billing")}
        # A client of this server authenticates in one way; a resource server is a client without grants.
        how = {"poster": both | {"auth": "client_secret_post"}, "orders": both | {"grants": []}}
        how["billing"] = how["orders"]
        resources = {name: {"audience": f"https://{name}.example/"} for name in ("orders", "billing")}
        for name in ALGORITHMS:
            resources[name] = {"audience": f"https://{name.lower()}.example/", "algorithm": name}
        world = {
            "clients": [client | how.get(name, both) for name, client in self.clients.items()],
            "resources": resources,
            "keys": list(new_keys()),
            "exchangeGrant": EXCHANGE_GRANT,
            "accessTokenType": ACCESS_TOKEN_TYPE,
        }
        with (self.work / "control.log").open("w") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self.process = subprocess.Popen([*node_command(20), "control.mjs"], cwd=self.work, text=True, **pipes)
        self.process.stdin.write(json.dumps(world))
        self.process.stdin.close()
        line = self.process.stdout.readline()
        if not line:
            self.__exit__()
            raise SetupError(f"oidc-provider: {(self.work / 'control.log').read_text().strip()[-300:]}")
        self.issuer, self.resources = json.loads(line)["issuer"], resources
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def world(self):
        """What a client needs. Tokens of the control that are JWTs cannot be introspected, so other ones are."""
        shop, seen = self.clients["shop"], self.resources["orders"]["audience"]
        signed = {name: {"client": shop, "resource": self.resources[name]["audience"]} for name in ALGORITHMS}
        subject = {"name": "access-token", "type": ACCESS_TOKEN_TYPE, "client": shop,
                   "resource": signed["RS256"]["resource"],
                   "claims": {"client_id": shop["id"]}, "present": ["exp", "iat", "jti"]}
        metadata = fetch(f"{self.issuer}/.well-known/openid-configuration")
        subject["token"] = fetch(metadata["token_endpoint"], shop, grant_type="client_credentials", resource=seen,
                                 scope="read")["access_token"]
        return common_world(self.issuer, signed, self.clients, seen) | {"exchange": [subject], "legacy": [],
                                                                        "escalation": False}


def common_world(issuer, signed, clients, seen):
    return {
        "issuer": issuer,
        "signed": signed,
        "authenticated": {"basic": clients["shop"], "post": clients["poster"]},
        "introspected": {"client": clients["shop"], "resource": seen, "caller": clients["orders"],
                         "stranger": clients["billing"], "other": clients["other"]},
        # A resource whose tokens are not accepted in place of RS256's.
        "foreign": signed["ES256"]["resource"],
        "scope": "read",
        "exchange_grant": EXCHANGE_GRANT,
        "access_token_type": ACCESS_TOKEN_TYPE,
    }


def new_keys():
    """New private keys as JWKs, one for each algorithm."""
    keys = zip(ALGORITHMS, (RSAKey.generate_key(2048), OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256")))
    for algorithm, key in keys:
        yield key.as_dict(private=True) | {"alg": algorithm, "use": "sig", "kid": algorithm.lower()}
