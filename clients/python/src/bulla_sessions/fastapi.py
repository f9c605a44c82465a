"""A FastAPI dependency: `Annotated[Opened, Depends(Bearer(KeyFile("billing.keys.json")))]`."""

import logging
from collections.abc import Collection

from fastapi import HTTPException, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from .key_file import KeyFile
from .keys import Keys, Opened, Refused
from .openers import Openers

_log = logging.getLogger("bulla")


class Bearer(SecurityBase):
    """Opens the token of `Authorization: Bearer …`; answers 401, with the same answer for every refusal, if that fails.

    Admits tokens of `purposes`; by default those of the purpose of the (first) export. With exports for people and for
    machines, `Bearer(Openers(people, machines))` admits people only and refuses a machine's token with the reason
    `purpose`; `Bearer(Openers(people, machines), {"access", "service"})` admits both.
    """

    def __init__(self, keys: Keys | KeyFile | Openers, purposes: Collection[str] | None = None) -> None:
        self.model = HTTPBearer(description="A Bulla token")
        self.scheme_name = "bulla"
        self._keys = keys
        self._purposes = frozenset({keys.purpose} if purposes is None else purposes)

    async def __call__(self, request: Request) -> Opened:
        try:
            opened = self._keys.open(_token(request))
            if opened.purpose not in self._purposes:
                raise Refused("purpose")
            return opened
        except Refused as refused:
            _log.debug("token refused: %s", refused.reason)
            challenge = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
            raise HTTPException(401, "token refused", challenge) from None


def _token(request: Request) -> str:
    headers = request.headers.getlist("authorization")
    # With two headers, a proxy in front may have checked the other one.
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Refused("missing")
    return token
