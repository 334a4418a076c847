"""Meta's door: GET proves to Meta that the address is ours, POST takes its webhooks. A signature is the credential."""

import re

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from secretaria.core.errors import NotAuthenticated
from secretaria.web.auth import application_of

WEBHOOK_PATH = "/webhooks/whatsapp"
WEBHOOK_BODY_BYTES_MAX = 4 * 1024 * 1024
SIGNATURE_HEADER = b"x-hub-signature-256"
INTEGRATION_DIGITS_MAX = 18

router = APIRouter(prefix=WEBHOOK_PATH, tags=["Meta's webhook"])


@router.get("", response_class=PlainTextResponse)
async def verify(request: Request) -> Response:
    """Answer Meta's handshake with its challenge, when it knows WHATSAPP_VERIFY_TOKEN."""
    return await _verified(request, None)


@router.get("/{integration_id}", response_class=PlainTextResponse)
async def verify_integration(request: Request, integration_id: str) -> Response:
    """As above, for an integration with a verify token of its own."""
    return await _verified(request, _integration(integration_id))


@router.post("", response_class=PlainTextResponse)
async def receive(request: Request) -> Response:
    """Take a webhook signed with WHATSAPP_APP_SECRET, for every account that has no integration of its own."""
    return await _received(request, None)


@router.post("/{integration_id}", response_class=PlainTextResponse)
async def receive_integration(request: Request, integration_id: str) -> Response:
    """Take a webhook signed with an integration's own app secret, for its numbers only."""
    return await _received(request, _integration(integration_id))


async def _verified(request: Request, integration_id: int | None) -> Response:
    webhooks = application_of(request).webhooks
    return PlainTextResponse(await webhooks.answer_challenge(request.query_params, integration_id))


async def _received(request: Request, integration_id: int | None) -> Response:
    application = application_of(request)
    signatures = [value for name, value in request.scope["headers"] if name == SIGNATURE_HEADER]
    await application.webhooks.receive(
        await request.body(),
        signatures[0] if len(signatures) == 1 else None,
        integration_id=integration_id,
        now=application.clock(),
    )
    return PlainTextResponse("ok")


def _integration(text: str) -> int:
    """An integration that cannot exist is answered as one whose secret was not used."""
    if not re.fullmatch(rf"[0-9]{{1,{INTEGRATION_DIGITS_MAX}}}", text, re.ASCII):
        raise NotAuthenticated("X-Hub-Signature-256 is not that of this body", code="invalid_signature")
    return int(text)
