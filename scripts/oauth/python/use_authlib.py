"""Authlib: discovery, tokens, exchange, introspection and revocation as a client; RFC 9068 as a resource server."""

import os

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from authlib.oidc.discovery import OpenIDProviderMetadata
from authlib.oidc.discovery import get_well_known_url as get_openid_url
from report import WORLD, check, check_exchange, ensure

# Its checks of metadata demand https; here everything is on loopback.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
METADATA = {}


def discover(url, kind):
    response = requests.get(url, timeout=10)
    response.raise_for_status()
    metadata = kind(response.json())
    ensure(metadata["issuer"] == WORLD["issuer"], metadata["issuer"])
    # URLs are left out: the library demands https even on loopback. Without an authorization endpoint, the required
    # list of response types is empty, which the library does not foresee.
    left_out = {"issuer", *(() if "authorization_endpoint" in metadata else ("response_types_supported",))}
    for name in metadata.REGISTRY_KEYS:
        if name not in left_out and not name.endswith(("_endpoint", "_uri")):
            getattr(metadata, f"validate_{name}", lambda: None)()
    METADATA.update(metadata)


def session(client, method="client_secret_basic", **rest):
    names = ("token_endpoint_auth_method", "revocation_endpoint_auth_method")
    return OAuth2Session(client["id"], client["secret"], **dict.fromkeys(names, method), **rest)


def new_token(client, resource, method="client_secret_basic", **rest):
    return session(client, method).fetch_token(
        METADATA["token_endpoint"], grant_type="client_credentials", resource=resource, **rest
    )


def exchange(subject, **rest):
    given = {"subject_token": subject["token"], "subject_token_type": subject["type"], "resource": subject["resource"]}
    return session(subject["client"]).fetch_token(
        METADATA["token_endpoint"], grant_type=WORLD["exchange_grant"], **given | rest
    )


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return requests.get(METADATA["jwks_uri"], timeout=10).json()


def verify(token, audience, scopes=()):
    """Verifies an access token as a resource server does (RFC 9068 section 4)."""
    validator = Validator(WORLD["issuer"], audience)
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, list(scopes), None)
    return claims


def introspect(caller, token, hint=None):
    response = session(caller).introspect_token(METADATA["introspection_endpoint"], token=token, token_type_hint=hint)
    response.raise_for_status()
    return response.json()


def revoke(client, token):
    session(client).revoke_token(METADATA["revocation_endpoint"], token=token).raise_for_status()


def ensure_inactive(caller, token):
    found = introspect(caller, token)
    ensure(found == {"active": False}, found)


def refused(run, code):
    try:
        run()
    except OAuthError as error:
        ensure(error.error == code, f"{error.error} instead of {code}")
    else:
        raise AssertionError(f"accepted instead of {code}")


def check_verify(algorithm):
    client, resource = WORLD["signed"][algorithm]["client"], WORLD["signed"][algorithm]["resource"]
    token = new_token(client, resource, scope=WORLD["scope"])["access_token"]
    claims = verify(token, resource, [WORLD["scope"]])
    ensure(claims.header["alg"] == algorithm and claims["sub"] == client["id"], claims)


def check_subject(subject):
    tokens = exchange(subject)
    check_exchange(tokens, verify(tokens["access_token"], subject["resource"]), subject)


def check_legacy(legacy):
    found = introspect(SEEN["caller"], legacy["token"], legacy["type"])
    ensure(found["active"] and all(found[name] == legacy[name] for name in ("sub", "username", "acr")), found)


def check_introspection():
    token = new_token(SEEN["client"], SEEN["resource"])["access_token"]
    found = introspect(SEEN["caller"], token)
    ensure(found["active"] and found["client_id"] == SEEN["client"]["id"], found)


def check_foreign():
    ensure_inactive(SEEN["stranger"], new_token(SEEN["client"], SEEN["resource"])["access_token"])


def check_revocation():
    token = new_token(SEEN["client"], SEEN["resource"])["access_token"]
    revoke(SEEN["client"], token)
    ensure_inactive(SEEN["caller"], token)


SEEN = WORLD["introspected"]
RS256 = WORLD["signed"]["RS256"]
check("discovery", lambda: discover(get_openid_url(WORLD["issuer"], external=True), OpenIDProviderMetadata))
check("discovery-8414", lambda: discover(get_well_known_url(WORLD["issuer"], True), AuthorizationServerMetadata))
for name in ("basic", "post"):
    client, method = WORLD["authenticated"][name], f"client_secret_{name}"
    check(f"client-credentials-{name}", lambda: new_token(client, RS256["resource"], method))
for name in WORLD["signed"]:
    check(f"verify-{name}", lambda: check_verify(name))
for subject in WORLD["exchange"]:
    check(f"exchange-{subject['name']}", lambda: check_subject(subject))
check("introspect", check_introspection)
check("introspect-foreign", check_foreign)
check("introspect-garbage", lambda: ensure_inactive(SEEN["caller"], "garbage"))
for legacy in WORLD["legacy"]:
    check(f"introspect-{legacy['name']}", lambda: check_legacy(legacy))
check("revoke", check_revocation)
check("revoke-unknown", lambda: revoke(SEEN["client"], "garbage"))
check("invalid-client", lambda: refused(lambda: new_token(RS256["client"] | {"secret": "no"}, ""), "invalid_client"))
for subject in WORLD["exchange"][:1]:
    check("invalid-subject", lambda: refused(lambda: exchange(subject, subject_token="0" * 32), "invalid_request"))
