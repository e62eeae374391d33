#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
# Tokens by another hand: Debian's python3-jwt.
#
#     oracle_jwt.py make KEY NOW     one token a line: "<expected> <token>"
#     oracle_jwt.py read KEY NOW     verifies the token on standard input and
#                                    prints "sub role iat exp jti"
#     oracle_jwt.py sets KEY NOW     a line with a set of keys to sign with, one
#                                    with the public half of another issuer's,
#                                    then "<whose> <expected> <token>" a line
#     oracle_jwt.py check KEY NOW    verifies "<set> <token>" on standard input
#                                    with the key that it names, prints "alg kid"
#
# KEY is text, used as it stands.

import base64
import hmac
import json
import sys
import warnings

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

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
    show("ok", {"sid": JTI})
    show("malformed", {"sid": "short"})
    show("malformed", {"sid": None})
    for claim in ("iss", "aud", "sub", "role", "exp"):
        show("malformed", drop=(claim,))
    show("malformed", headers={"typ": "at+jwt"})
    show("malformed", headers={"crit": ["exp"]})

    show("signature", key=key + "x")
    show("malformed", alg="HS384")
    show("malformed", alg="HS512")
    show("malformed", alg="none", key=None)

    # signed by HMAC-SHA256, whatever the header says
    for header in ('{"alg":"RS256"}', '{"alg":"ES256","kid":"1"}'):
        forge("key", header, json.dumps(good), key)
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


def number(n, octets=None):
    return base64.urlsafe_b64encode(n.to_bytes(
        octets or (n.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def rsa_jwk(kid, bits=2048, factors=True):
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    n = key.private_numbers()
    jwk = {"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig",
           "n": number(n.public_numbers.n), "e": number(n.public_numbers.e),
           "d": number(n.d)}
    if factors:
        jwk.update(p=number(n.p), q=number(n.q), dp=number(n.dmp1),
                   dq=number(n.dmq1), qi=number(n.iqmp))
    return key, jwk


def ec_jwk(kid, curve=ec.SECP256R1, name="P-256"):
    key = ec.generate_private_key(curve())
    n = key.private_numbers()
    size = (key.curve.key_size + 7) // 8
    return key, {"kty": "EC", "kid": kid, "crv": name,
                 "x": number(n.public_numbers.x, size),
                 "y": number(n.public_numbers.y, size),
                 "d": number(n.private_value, size)}


def oct_jwk(kid, secret):
    return secret, {"kty": "oct", "kid": kid, "alg": "HS256", "k":
                    base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}


def public(jwk):
    return {k: v for k, v in jwk.items()
            if k not in ("d", "p", "q", "dp", "dq", "qi")}


def sets(key, now):
    own = [ec_jwk("2026-11"), rsa_jwk("2026-10"), rsa_jwk("old", 2048, False),
           oct_jwk("2026-09", key.encode())]
    theirs = [rsa_jwk("ins_1"), ec_jwk("f/1+="), oct_jwk("shared", b"x" * 32)]
    others = [ec_jwk("p384", ec.SECP384R1, "P-384")[1],
              rsa_jwk("short", 1024)[1],
              dict(rsa_jwk("enc")[1], use="enc"),
              dict(rsa_jwk("rs512")[1], alg="RS512"), {"kty": "OKP"},
              {"a \\\" [{": ["]", {"}": "\\"}]}]
    print(json.dumps({"keys": [jwk for _, jwk in own]}, indent=None))
    print(json.dumps({"x": 1, "keys": others[:3]
                      + [public(jwk) for _, jwk in theirs] + others[3:]}))

    mine = {"iss": "astro", "aud": "astro", "sub": "u_17", "role": "client",
            "iat": now, "exp": now + 3600}
    good = {"iss": "https://clerk.test", "sub": "user_2abc", "iat": now,
            "exp": now + 60, "aud": ["web", "x"], "email": "a@b.test",
            "email_verified": True, "name": "A \u00e9"}

    def show(whose, expected, which, alg, kid=None, changes=None, drop=()):
        claims = {**(mine if whose == "own" else good), **(changes or {})}
        claims = {k: v for k, v in claims.items() if k not in drop}
        print(whose, expected, jwt.encode(
            claims, which, alg, headers={"kid": kid} if kid else None))

    for (secret, jwk), alg in zip(own, ("ES256", "RS256", "RS256", "HS256")):
        show("own", "ok", secret, alg, jwk["kid"])
        show("own", "ok", secret, alg)
        show("own", "key", secret, alg, "unknown")
        show("own", "expired", secret, alg, jwk["kid"], {"exp": now})
    # the right signature under the name of another key
    show("own", "signature", own[2][0], "RS256", "2026-10")
    show("own", "key", own[0][0], "ES256", "2026-10")
    show("own", "key", own[1][0], "RS256", "2026-09")
    # a public key as a secret, the oldest trick
    for which in (own[0], own[1]):
        pem = which[0].public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo)
        head = base64.urlsafe_b64encode(json.dumps(
            {"alg": "HS256", "kid": which[1]["kid"]}).encode()).rstrip(b"=")
        text = head + b"." + base64.urlsafe_b64encode(
            json.dumps(mine).encode()).rstrip(b"=")
        mac = base64.urlsafe_b64encode(
            hmac.new(pem, text, "sha256").digest()).rstrip(b"=")
        print("own key", (text + b"." + mac).decode())
    # right keys, and an algorithm that they are not for
    show("own", "malformed", own[1][0], "RS384", "2026-10")
    show("own", "malformed", own[1][0], "PS256", "2026-10")

    for (secret, jwk), alg in zip(theirs, ("RS256", "ES256", "HS256")):
        show("outside", "ok" if alg != "HS256" else "key", secret, alg,
             jwk["kid"])
        show("file", "ok", secret, alg, jwk["kid"])
    ins = theirs[0][0], "RS256", "ins_1"
    show("outside", "ok", *ins, {"exp": now - 29})
    show("outside", "ok", *ins, {"nbf": now + 30})
    show("outside", "ok", *ins, {"aud": "web"})
    show("outside", "ok", *ins, {"email": 5, "name": ""})
    show("outside", "expired", *ins, {"exp": now - 30})
    show("outside", "not_yet", *ins, {"nbf": now + 31})
    show("outside", "malformed", *ins, {"aud": "other"})
    show("outside", "malformed", *ins, drop=("aud",))
    show("outside", "malformed", *ins, drop=("sub",))
    show("outside", "malformed", *ins, {"sub": "x" * 256})
    show("outside", "malformed", *ins, {"iss": "https://clerk.test/"})
    show("outside", "malformed", *ins, {"iss": "astro"})
    show("outside", "malformed", *ins, drop=("exp",))
    show("outside", "key", own[1][0], "RS256", "2026-10")
    show("own", "key", *ins, changes=mine)


def check(_key, now):
    keys, token = sys.stdin.read().strip().rsplit(" ", 1)
    header = jwt.get_unverified_header(token)
    jwk, = [k for k in json.loads(keys)["keys"] if k["kid"] == header["kid"]]
    jwt.decode(token, jwt.PyJWK(dict(public(jwk), alg=header["alg"])).key,
               algorithms=[header["alg"]], audience="astro", issuer="astro",
               options={"verify_exp": False, "verify_iat": False,
                        "require": ["exp"]})
    print(header["alg"], header["kid"])


if __name__ == "__main__":
    {"make": make, "read": read, "sets": sets, "check": check}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
