"""An OpenID provider on this machine that says yes to everything: for Gradio's own sign-in code, as on a Space."""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

KEY = jwk.RSAKey.generate_key(2048, {"kid": "here", "use": "sig", "alg": "RS256"})


class Provider:
    """`name` is who signs in; `asked` are the scopes of each request, in order."""

    def __init__(self, name: str = "ann") -> None:
        self.name = name
        self.asked: list[list[str]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="openid").start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def env(self) -> dict[str, str]:
        """What a Space with `hf_oauth` has in its environment."""
        return {
            "SYSTEM": "spaces",
            "SPACE_ID": "ann/atelier",
            "OAUTH_CLIENT_ID": "client",
            "OAUTH_CLIENT_SECRET": "not-a-real-one",
            "OAUTH_SCOPES": "openid profile inference-api contribute-repos jobs",
            "OPENID_PROVIDER_URL": self.url,
            "GRADIO_SERVER_NAME": "127.0.0.1",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path.endswith("openid-configuration"):
            at = self.provider.url
            return self._json(
                {
                    "issuer": at,
                    "authorization_endpoint": f"{at}/oauth/authorize",
                    "token_endpoint": f"{at}/oauth/token",
                    "userinfo_endpoint": f"{at}/oauth/userinfo",
                    "jwks_uri": f"{at}/jwks",
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        if url.path == "/jwks":
            return self._json({"keys": [KEY.as_dict(private=False)]})
        if url.path == "/oauth/authorize":
            code = secrets.token_urlsafe(8)
            self.provider.codes[code] = asked
            self.provider.asked.append(asked["scope"].split())
            back = urlencode({"code": code, "state": asked["state"]})
            join = "&" if "?" in asked["redirect_uri"] else "?"
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}{join}{back}")
            return self.end_headers()
        self._json({}, 404)

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        asked = self.provider.codes.pop(body["code"][0])
        now, name = int(time.time()), self.provider.name
        claims = {
            "iss": self.provider.url, "sub": name, "aud": "client", "iat": now, "exp": now + 3600,
            "nonce": asked["nonce"], "name": name.title(), "preferred_username": name,
            "profile": f"https://huggingface.co/{name}", "picture": "",
        }  # fmt: skip
        self._json(
            {
                "access_token": f"hf_oauth_{secrets.token_hex(12)}",
                "token_type": "bearer",
                "expires_in": 28800,
                "scope": asked["scope"],
                "id_token": jwt.encode({"alg": "RS256", "kid": "here"}, claims, KEY),
            }
        )

    def _json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
