"""The audit log: who did what, newest first."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from secretaria.core.access import Caller
from secretaria.core.audit_chain import AuditLine
from secretaria.core.errors import InvalidInput
from secretaria.services.audit import PAGE_LINES_MAX
from secretaria.web.api.routes import ApiRoute, Number
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/audit", tags=["Audit log"], route_class=ApiRoute)


class AuditLineOut(BaseModel):
    """A line; company_id 0 is the operator's own, `line` and `hash` are null from before the chain."""

    id: int
    company_id: int
    line: int | None
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str | None

    @classmethod
    def of(cls, line: AuditLine) -> "AuditLineOut":
        """Return what is shown of a line: all of it."""
        return cls(
            id=line.audit_id,
            company_id=line.company_id,
            line=line.sequence,
            at=line.at,
            actor=line.actor,
            action=line.action,
            subject=line.subject,
            detail=dict(line.detail),
            hash=line.hash.hex() if line.hash else None,
        )


class AuditOut(BaseModel):
    """A page, newest first; next_after is null on the last page."""

    lines: list[AuditLineOut]
    next_after: int | None


@router.get("")
async def list_audit_lines(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
    after: Number | None = None,
    limit: Number = PAGE_LINES_MAX,
) -> AuditOut:
    """List lines, newest first; `after` is next_after of the page before. Scope keys:write."""
    if not 1 <= limit <= PAGE_LINES_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_LINES_MAX}", code="invalid_limit", pointer="limit")
    page = await application_of(request).audit.page(caller, company_id, after=after, limit=limit)
    last = page[-1].audit_id if len(page) == limit else None
    return AuditOut(lines=[AuditLineOut.of(line) for line in page], next_after=last)
