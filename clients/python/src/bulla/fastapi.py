"""A FastAPI dependency: `Annotated[Opened, Depends(Bearer(KeyFile("billing.keys.json")))]`."""

import logging

from fastapi import HTTPException, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from .key_file import KeyFile
from .keys import Keys, Opened, Refused

_log = logging.getLogger("bulla")


class Bearer(SecurityBase):
    """Opens the token of `Authorization: Bearer …`; answers 401, the same for every refusal, if there is none."""

    def __init__(self, keys: Keys | KeyFile) -> None:
        self.model = HTTPBearer(description="A Bulla token")
        self.scheme_name = "bulla"
        self._keys = keys

    async def __call__(self, request: Request) -> Opened:
        try:
            return self._keys.open(_token(request))
        except Refused as refused:
            _log.debug("token refused: %s", refused.reason)
            challenge = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
            raise HTTPException(401, "token refused", challenge) from None


def _token(request: Request) -> str:
    headers = request.headers.getlist("authorization")
    # Two headers could be read as one by us and as the other by whoever stands before us.
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Refused("missing")
    return token
