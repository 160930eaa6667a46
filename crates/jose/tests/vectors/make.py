#!/usr/bin/env python3
"""Writes tokens.json: keys, their public JWKs and signed tokens, made without code of Stele.

Needs PyPI's joserfc 1.8.0. Run it in this folder: python3 make.py > tokens.json. Each run makes other keys.
"""

import json

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

ISSUER = "https://auth.example.com"
CLAIMS = [
    {"iss": ISSUER, "sub": "0b922f14-d00b-41e7-aafd-525400bbac8e", "aud": "urn:stele:resource:orders", "exp": 1767254700},
    {"iss": ISSUER, "sub": "王", "aud": ["a", "urn:stele:resource:orders"], "iat": 1767254400, "exp": 1767254700},
    {"iss": ISSUER, "aud": "urn:stele:resource:orders", "exp": 1767254700, "nested": {"list": [1, 2.5, None, "é"]}},
]

KEYS = [
    ("RS256", "rs256-7", lambda parameters: RSAKey.generate_key(2048, parameters)),
    ("EdDSA", "eddsa-7", lambda parameters: OKPKey.generate_key("Ed25519", parameters)),
    ("ES256", "es256-7", lambda parameters: ECKey.generate_key("P-256", parameters)),
]


def vector(algorithm, key_id, generate):
    """A key and tokens that it signed."""
    key = generate({"kid": key_id, "use": "sig", "alg": algorithm})
    header = {"typ": "at+jwt", "alg": algorithm, "kid": key_id}
    tokens = [jwt.encode(header, claims, key, algorithms=[algorithm]) for claims in CLAIMS]
    return {
        "algorithm": algorithm,
        "number": 7,
        "private_key": key.as_pem(private=True).decode(),
        "jwk": key.as_dict(private=False),
        "tokens": [{"claims": claims, "token": token} for claims, token in zip(CLAIMS, tokens)],
    }


print(json.dumps({"issuer": ISSUER, "keys": [vector(*key) for key in KEYS]}, ensure_ascii=False, indent=1))
