"""`stele up` with a user who has logged in through each dialect, resources and clients; and what the clients need."""

import json
import time
import urllib.error
import urllib.request

from install import SetupError
from plan import PASSWORD, Envelope, digest, encode_base64, proof
from servers import ACCESS_TOKEN_TYPE, ALGORITHMS, EXCHANGE_GRANT, common_world, fetch
from stele import Stele

PHONE, ACR = "13812345678", "urn:stele:acr:"
SESSIONS = {"cloudbox-session": "legacy", "tms-session": "legacy", "portal-session": "pwd", "jwt-login": "pwd"}
SUBJECTS = {**SESSIONS, "mefp-handover": "pwd"}
# The app that the handover is for; an exchange of it is allowed to the client with that id.
APP = "wlfz"


def post(url, fields=None, text=None, headers=None):
    """Posts JSON, or a form that is not escaped; returns the parsed body and the headers."""
    kind = "application/json" if text is None else "application/x-www-form-urlencoded"
    data = json.dumps(fields) if text is None else text
    request = urllib.request.Request(url, data.encode(), {"Content-Type": kind, **(headers or {})})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read(), response.headers


class OAuthStele(Stele):
    """Stele with everything that the clients need; a context manager that stops it."""

    def __init__(self, folder):
        # A page of another origin is not part of these tests.
        super().__init__(folder, "https://page.example")
        self.logins = 0

    def __enter__(self):
        super().__enter__()
        try:
            self.issuer = f"http://127.0.0.1:{self.port}"
            self.register()
        except BaseException:
            self.__exit__()
            raise
        return self

    def register(self):
        self.user = self.add_user("zhangsan", PHONE)
        self.kiosk = self.command("token", "add", "kiosk").split()[-1]
        self.melink = Envelope("melink", *self.add_app("melink", APP))
        self.add_app(APP)
        secret = lambda *words: self.command(*words).split()[-1]  # noqa: E731
        self.clients, legacy = {}, ",".join(SESSIONS)
        for name, rest in (("orders", ["--legacy-tokens", legacy]), ("billing", [])):
            uri = f"https://{name}.example/"
            self.clients[name] = {"id": name, "secret": secret("resource", "add", name, "--uri", uri, *rest)}
        for name, rest in {
            "shop": ["--subject-types", ",".join([*SESSIONS, "access-token"])],
            "shop-eddsa": ["--alg", "EdDSA"],
            "shop-es256": ["--alg", "ES256"],
            "other": [],
            APP: ["--subject-types", "mefp-handover"],
        }.items():
            grants = "client_credentials,token-exchange" if "--subject-types" in rest else "client_credentials"
            words = ["client", "add", name, "--grants", grants, "--resources", "orders,billing", "--scopes", "read"]
            self.clients[name] = {"id": name, "secret": secret(*words, *rest)}
        self.clients["poster"] = self.clients["shop"]

    def log_in(self, kind):
        """The token of a new login of the user."""
        # A proof is accepted once, and not from the second in which the state store was created.
        self.logins += 1
        base, stamp = self.issuer, int(time.time()) + self.logins
        salted = {"username": "zhangsan", "password": proof(PASSWORD, stamp), "timestamp": stamp}
        match kind:
            case "cloudbox-session":
                body, _ = post(f"{base}/api/v1/cloudbox/smarttms/auth/authsalt", salted)
                return json.loads(body)["data"]["user_token"]
            case "tms-session":
                fields = {**salted, "password": digest(PASSWORD)}
                path = "/container/api/v1/cloudbox/tms/auth/authsalt"
                body, _ = post(base + path, fields, headers={"Authorization": self.kiosk})
                return json.loads(body)["data"]["user_token"]
            case "portal-session":
                _, headers = post(f"{base}/i/login", text=f"username={PHONE}&password={encode_base64(PASSWORD)}")
                return headers["Set-Cookie"].split(";")[0].split("=", 1)[1]
            case "jwt-login":
                body, _ = post(f"{base}/api/v1/Auth/Login", {"account": "zhangsan", "password": PASSWORD})
                return json.loads(body)["token"]
            case "mefp-handover":
                sealed = self.melink.encrypt(login_name=PHONE, password=PASSWORD)
                post(f"{base}/auth/login", sealed)
                body, _ = post(f"{base}/auth/token", self.melink.encrypt(login_name=PHONE, app_to=APP))
                return json.loads(self.melink.decrypt(body))["token"]
        raise SetupError(f"no such kind of token: {kind}")

    def exchange(self, subject):
        """An access token for the subject; an empty one if the exchange is refused, which the clients' checks show."""
        given = {"grant_type": EXCHANGE_GRANT, "subject_token": subject["token"], "subject_token_type": subject["type"]}
        try:
            url = f"{self.issuer}/oauth2/token"
            return fetch(url, subject["client"], resource=subject["resource"], **given)["access_token"]
        except urllib.error.HTTPError:
            return ""

    def world(self):
        """What a client needs, with new logins: a handover is accepted once."""
        seen = "https://orders.example/"
        of = {"RS256": "shop", "EdDSA": "shop-eddsa", "ES256": "shop-es256"}
        signed = {name: {"client": self.clients[of[name]], "resource": seen} for name in ALGORITHMS}
        tokens = {kind: self.log_in(kind) for kind in SUBJECTS}
        exchange, legacy = [], []
        for kind, level in SUBJECTS.items():
            client = self.clients[APP if kind == "mefp-handover" else "shop"]
            claims = {"sub": self.user, "client_id": client["id"], "acr": ACR + level, "aud": seen}
            present = ["exp", "iat", "jti", "sid", "amr", "auth_time"]
            kind_urn = f"urn:stele:token-type:{kind}"
            exchange.append({"name": kind, "type": kind_urn, "token": tokens[kind], "client": client, "resource": seen,
                             "claims": claims, "present": present})
            if kind in SESSIONS:
                legacy.append({"name": kind, "type": kind_urn, "token": tokens[kind], "username": "zhangsan",
                               "sub": self.user, "acr": ACR + level})
        again = {"name": "access-token", "type": ACCESS_TOKEN_TYPE, "token": self.exchange(exchange[0])}
        exchange.append(exchange[0] | again)
        world = common_world(self.issuer, signed, self.clients, seen)
        world["foreign"] = "https://billing.example/"
        return world | {"exchange": exchange, "legacy": legacy, "escalation": True}
