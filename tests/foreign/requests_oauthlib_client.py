"""requests-oauthlib, as its documentation uses it."""

import os

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback

from oauthlib.oauth2 import BackendApplicationClient  # noqa: E402
from requests.auth import HTTPBasicAuth  # noqa: E402
from requests_oauthlib import OAuth2Session  # noqa: E402

from conversation import browse, done, issuer, told  # noqa: E402

token_url = f"{issuer}/oauth/token"
web = told["web"]

machine = OAuth2Session(client=BackendApplicationClient(client_id=web["id"], scope=["read"]))
token = machine.fetch_token(token_url, client_id=web["id"], client_secret=web["secret"])
assert token["scope"] == ["read"] and token["expires_in"] == 3600, token
done("client_credentials client_secret_basic")
token = machine.fetch_token(token_url, client_secret=web["secret"], include_client_id=True)
assert token["access_token"]
done("client_credentials client_secret_post")

person = OAuth2Session(web["id"], redirect_uri=told["back"], scope=["read", "write"], pkce="S256")
url, state = person.authorization_url(f"{issuer}/oauth/authorize")
token = person.fetch_token(token_url, authorization_response=browse(url), client_secret=web["secret"])
assert token["scope"] == ["read", "write"] and token["refresh_token"], token
done("authorization_code with PKCE")
assert person.get(f"{issuer}/auth/session").json()["name"] == "ada"
done("a resource")

before = token["access_token"]
token = person.refresh_token(token_url, auth=HTTPBasicAuth(web["id"], web["secret"]))
assert token["access_token"] != before and token["refresh_token"], token
done("refresh_token")

url, headers, body = person._client.prepare_token_revocation_request(f"{issuer}/oauth/revoke", token["refresh_token"])
answer = person.post(url, headers=headers, data=body, auth=HTTPBasicAuth(web["id"], web["secret"]), withhold_token=True)
assert answer.status_code == 200
assert person.get(f"{issuer}/auth/session").status_code == 401
done("revoke")
