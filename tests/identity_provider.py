"""A small identity provider that really answers: discovery, public keys, and tokens signed by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

NOW = 1_800_000_000.0
AUDIENCE = "axo"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class Provider:
    """What it publishes can be changed, and it can be `away`; `asked` counts requests."""

    def __init__(self, url: str) -> None:
        self.issuer = url
        self.away, self.asked = False, 0
        self.keys: list[dict[str, Any]] = [
            {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "r", "use": "sig"},
            {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "e", "alg": "ES256"},
            {"kty": "oct", "kid": "o", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        ]
        self.discovery = {"issuer": url, "jwks_uri": f"{url}/keys"}

    def claims(self, **changes: object) -> dict[str, object]:
        """Those of a token that is good at NOW; a change to None leaves the claim out."""
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "ann",
            "iat": NOW - 60,
            "exp": NOW + 600,
            "groups": ["ml"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "r", **changes: object
    ) -> str:
        headers = {"kid": kid} if kid is not None else {}
        return jwt.PyJWS().encode(json.dumps(self.claims(**changes)).encode(), key, algorithm, headers)


@contextmanager
def identity_provider() -> Iterator[Provider]:
    """One that listens on this machine, for the length of a `with` block."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked += 1
            pages = {
                "/.well-known/openid-configuration": provider.discovery,
                "/keys": {"keys": provider.keys},
            }
            body = json.dumps(pages.get(self.path, {})).encode()
            self.send_response(500 if provider.away else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        provider = Provider(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
