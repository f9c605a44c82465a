"""Whoever asks is left alone: an administrator that has deleted itself sees nothing but refusals from then on."""

import os

import schemathesis

OWN = os.environ["BULLA_TEST_OWN"].split()
# A person's session as `access refresh`: what only reads goes by the access token, what changes something by both cookies.
SESSION = os.environ["BULLA_TEST_SESSION"].split()
JAR = ("__Host-Http-bulla-access", "__Host-Http-bulla-refresh")


@schemathesis.hook
def before_call(context, case, kwargs):
    for name, value in (case.path_parameters or {}).items():
        if value in OWN:
            case.path_parameters[name] = "nobody"
    if SESSION:
        headers = case.headers
        for name in [name for name in headers if name.lower() in ("authorization", "cookie")]:
            del headers[name]
        if case.method.upper() in ("POST", "DELETE", "PATCH", "PUT"):
            headers["Sec-Fetch-Site"] = "same-origin"
            case.cookies = dict(zip(JAR, SESSION))
        else:
            headers["Authorization"] = f"Bearer {SESSION[0]}"
