"""joserfc alone: verifies access tokens by the published keys, as a service without an OAuth library would."""

import json
import urllib.parse
import urllib.request

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from report import WORLD, check, ensure

ALGORITHMS = ["RS256", "EdDSA", "ES256"]
METADATA = {}


def fetch(url, fields=None, client=None):
    request = urllib.request.Request(url, data=fields and urllib.parse.urlencode(fields).encode())
    if client:
        basic = urllib.request.base64.b64encode(f"{client['id']}:{client['secret']}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def discover():
    METADATA.update(fetch(f"{WORLD['issuer']}/.well-known/openid-configuration"))


def load_keys():
    keys = KeySet.import_key_set(fetch(METADATA["jwks_uri"]))
    identifiers = [key.kid for key in keys.keys]
    ensure(len(set(identifiers)) == len(identifiers) and all(identifiers), identifiers)
    ensure(not any(key.is_private for key in keys.keys), "a private key is published")
    return keys


def verify(token, audience):
    # RFC 9068 section 4: the type keeps other tokens of the issuer out.
    found = jwt.decode(token, load_keys(), algorithms=ALGORITHMS)
    ensure(found.header["typ"].lower() in ("at+jwt", "application/at+jwt"), found.header)
    essential = {name: {"essential": True} for name in ("exp", "sub", "client_id", "iat", "jti")}
    known = {"iss": {"essential": True, "value": WORLD["issuer"]}, "aud": {"essential": True, "value": audience}}
    jwt.JWTClaimsRegistry(**essential, **known).validate(found.claims)
    return found


def new_token(algorithm):
    signed = WORLD["signed"][algorithm]
    fields = {"grant_type": "client_credentials", "resource": signed["resource"]}
    return fetch(METADATA["token_endpoint"], fields, signed["client"])["access_token"]


def check_algorithm(algorithm):
    found = verify(new_token(algorithm), WORLD["signed"][algorithm]["resource"])
    ensure(found.header["alg"] == algorithm, found.header)


def check_refusals():
    token, audience = new_token("RS256"), WORLD["signed"]["RS256"]["resource"]
    header, claims, signature = token.split(".")
    forged = ".".join([header, claims, signature[:-8] + "AAAAAAAA"])
    for bad, wanted in ((token, "https://another.example/"), (forged, audience)):
        try:
            verify(bad, wanted)
        except JoseError:
            continue
        raise AssertionError("a bad token was accepted")
    ensure(jws.extract_compact(token.encode()).headers()["kid"], "no kid")


check("discovery", discover)
check("jwks", load_keys)
for name in WORLD["signed"]:
    check(f"verify-{name}", lambda: check_algorithm(name))
check("verify-refuses", check_refusals)
