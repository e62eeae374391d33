#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
# Tokens by another hand: Debian's python3-jwt.
#
#     oracle_jwt.py make KEY NOW     one token a line: "<expected> <token>"
#     oracle_jwt.py read KEY NOW     verifies the token on standard input and
#                                    prints "sub role iat exp jti"
#
# KEY is text, used as it stands.

import base64
import hmac
import json
import sys
import warnings

import jwt

warnings.filterwarnings("ignore")

JTI = "0123456789abcdef0123456789abcdef"


def make(key, now):
    good = {"iss": "astro", "aud": "astro", "sub": "u_17", "role": "client",
            "iat": now, "exp": now + 3600, "jti": JTI}

    def show(expected, changes=None, drop=(), headers=None, key=key,
             alg="HS256"):
        claims = {k: v for k, v in good.items() if k not in drop}
        claims.update(changes or {})
        # sub need not be a string here: encode by hand
        text = jwt.api_jws.encode(json.dumps(claims).encode(), key, alg,
                                  headers=headers)
        print(expected, text)

    show("ok")
    show("ok", {"role": "advisor"})
    show("ok", {"role": "admin", "extra": [1, {"a": None}]})
    show("ok", {"aud": ["other", "astro"]})
    show("ok", {"aud": ["astro"]})
    show("ok", {"nbf": now})
    show("ok", {"nbf": now + 5, "iat": now + 5})
    show("ok", drop=("jti", "iat"))
    show("ok", {"sub": "u_72057594037927935"})
    show("ok", {"exp": now + 1})
    show("ok", headers={"kid": "1"})
    show("ok", {"payload": {"role": "admin"}})

    show("expired", {"exp": now})
    show("expired", {"exp": now - 1})
    show("expired", {"exp": 0})
    show("not_yet", {"nbf": now + 6})
    show("not_yet", {"iat": now + 6})

    show("malformed", {"iss": "other"})
    show("malformed", {"iss": ["astro"]})
    show("malformed", {"aud": "other"})
    show("malformed", {"aud": []})
    show("malformed", {"aud": [["astro"]]})
    show("malformed", {"aud": {"astro": "astro"}})
    show("malformed", {"aud": "astro2"})
    show("malformed", {"sub": "17"})
    show("malformed", {"sub": "c_17"})
    show("malformed", {"sub": 17})
    show("malformed", {"sub": "u_0"})
    show("malformed", {"sub": "u_72057594037927936"})
    show("malformed", {"role": "root"})
    show("malformed", {"role": ""})
    show("malformed", {"role": ["client"]})
    show("malformed", {"exp": str(now + 3600)})
    show("malformed", {"exp": now + 3600.5})
    show("malformed", {"exp": -1})
    show("malformed", {"exp": 1e300})
    show("malformed", {"iat": "now"})
    show("malformed", {"nbf": None})
    show("malformed", {"jti": "short"})
    show("malformed", {"jti": "g" * 32})
    show("malformed", {"jti": JTI + "0"})
    for claim in ("iss", "aud", "sub", "role", "exp"):
        show("malformed", drop=(claim,))
    show("malformed", headers={"typ": "at+jwt"})
    show("malformed", headers={"crit": ["exp"]})

    show("signature", key=key + "x")
    show("signature", alg="HS384")
    show("signature", alg="HS512")
    show("signature", alg="none", key=None)

    # signed by HMAC-SHA256, whatever the header says
    for header in ('{"alg":"none"}', '{"alg":"HS384"}', '{"alg":"hs256"}',
                   '{"alg":["HS256"]}', '{"typ":"JWT"}', '{}', '[]', '',
                   '{"alg":"HS256","alg":"HS256"}', '{"alg":"HS256"'):
        forge("malformed", header, json.dumps(good), key)
    forge("ok", '{"alg":"HS256"}', json.dumps(good), key)
    forge("ok", '{"alg":"HS256"} ', json.dumps(good, indent=4), key)
    for claims in ('', '{}', '[]', json.dumps(good)[:-1],
                   json.dumps(good) + "{}",
                   '{"role":"admin",' + json.dumps(good)[1:],
                   '{"\\u0072ole":"admin",' + json.dumps(good)[1:]):
        forge("malformed", '{"alg":"HS256"}', claims, key)


def forge(expected, header, claims, key):
    def part(octets):
        return base64.urlsafe_b64encode(octets).rstrip(b"=")

    text = part(header.encode()) + b"." + part(claims.encode())
    mac = hmac.new(key.encode(), text, "sha256").digest()
    print(expected, (text + b"." + part(mac)).decode())


def read(key, now):
    token = sys.stdin.read().strip()
    claims = jwt.decode(token, key, algorithms=["HS256"], audience="astro",
                        issuer="astro", options={"verify_exp": False,
                                                 "verify_iat": False,
                                                 "require": ["exp", "iat"]})
    print(claims["sub"], claims["role"], claims["iat"], claims["exp"],
          claims["jti"])


if __name__ == "__main__":
    {"make": make, "read": read}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
