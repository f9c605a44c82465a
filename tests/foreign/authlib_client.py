"""Authlib, as its documentation uses it."""

import json

from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from conversation import browse, done, issuer, told

token_url = f"{issuer}/oauth/token"
web = told["web"]


def session(**more):
    return OAuth2Session(web["id"], web["secret"], redirect_uri=told["back"], **more)


for method in ("client_secret_basic", "client_secret_post"):
    machine = session(scope="read", token_endpoint_auth_method=method)
    token = machine.fetch_token(token_url, grant_type="client_credentials")
    assert token["scope"] == "read" and token["expires_in"] == 3600, token
    done(f"client_credentials {method}")

if told["signer"]:
    signer = OAuth2Session(told["signer"]["id"], ECKey.import_key(json.loads(told["signer"]["key"])), scope="read",
                           token_endpoint_auth_method="private_key_jwt")
    signer.register_client_auth_method(PrivateKeyJWT(token_url, alg="ES256"))
    assert signer.fetch_token(token_url, grant_type="client_credentials")["access_token"]
    done("private_key_jwt")

person = session(scope="read write", code_challenge_method="S256")
verifier = generate_token(48)
url, state = person.create_authorization_url(f"{issuer}/oauth/authorize", code_verifier=verifier)
token = person.fetch_token(token_url, authorization_response=browse(url), code_verifier=verifier)
assert token["scope"] == "read write" and token["refresh_token"], token
done("authorization_code with PKCE")
assert person.get(f"{issuer}/auth/session").json()["name"] == "ada"
done("a resource")

before = token["access_token"]
token = person.refresh_token(token_url, refresh_token=token["refresh_token"])
assert token["access_token"] != before and token["refresh_token"], token
done("refresh_token")

said = person.introspect_token(f"{issuer}/oauth/introspect", token=token["access_token"]).json()
assert said["active"] and said["username"] == "ada", said
done("introspect")

narrow = session().fetch_token(
    token_url, grant_type="urn:ietf:params:oauth:grant-type:token-exchange", subject_token=token["access_token"],
    subject_token_type="urn:ietf:params:oauth:token-type:access_token", audience="billing", scope="read")
said = person.introspect_token(f"{issuer}/oauth/introspect", token=narrow["access_token"]).json()
assert said["active"] and said["aud"] == "billing" and said["scope"] == "read", said
done("token exchange")

assert person.revoke_token(f"{issuer}/oauth/revoke", token=token["refresh_token"]).status_code == 200
said = person.introspect_token(f"{issuer}/oauth/introspect", token=token["access_token"]).json()
assert said == {"active": False}, said
done("revoke")
