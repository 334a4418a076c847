"""Configurações, tab "Registro de alterações": the audit log as sentences, newest first, a page at a time."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.audit_chain import AuditLine
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.panel.audit_words import UNKNOWN, action_text, field_text, value_text
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.settings_frame import (
    ROOT,
    CompanyAsked,
    Frame,
    Search,
    choose_company,
    frame_of,
    tab_page,
)

PATH: Final = f"{ROOT}/registro"
LINES_PAGE: Final = 50
BEFORE, AFTER = "before", "after"

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get(PATH)
async def audit_tab(
    request: Request,
    empresa: CompanyAsked = 0,
    apos: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0,
    q: Search = "",
) -> Response:
    """Show what was done to a company, by whom, from what to what."""
    if empresa == 0:
        return await choose_company(request, PATH, q)
    frame = await frame_of(request, empresa)
    lines = await frame.application.audit.page(frame.caller, empresa, after=apos or None, limit=LINES_PAGE + 1)
    people = await _people(frame)
    shown = lines[:LINES_PAGE]
    context = {
        "rows": [_row(frame, line, people) for line in shown],
        "first_url": frame.url(PATH) if apos else "",
        "next_url": frame.url(PATH, apos=shown[-1].audit_id) if len(lines) > LINES_PAGE else "",
    }
    return tab_page(frame, "settings_audit.html", PATH, context)


async def _people(frame: Frame) -> dict[str, str]:
    """Return the addresses of those the reader may know: a member those of its own company."""
    homes = [frame.company.company_id, *([OPERATOR_COMPANY_ID] if frame.caller.is_operator else [])]
    return {
        user.identity: user.email
        for home in homes
        for user in await frame.application.access.list_users(frame.caller, home)
    }


def _row(frame: Frame, line: AuditLine, people: dict[str, str]) -> dict[str, Any]:
    return {
        "line": line.sequence,
        "at": frame.show.moment(line.at),
        "who": _who(frame, line.actor, people),
        "what": action_text(line.action, frame.texts),
        "subject": people.get(line.subject, "") or _subject(line),
        "changes": _changes(frame, line),
    }


def _who(frame: Frame, actor: str, people: dict[str, str]) -> str:
    _ = frame.texts.gettext
    kind, _sep, name = actor.partition(":")
    if actor in people:
        return people[actor]
    if kind == "user":
        return _("Equipe da operadora")
    return _("Chave %(chave)s") % {"chave": name} if kind == "key" else _("Sistema")


def _subject(line: AuditLine) -> str:
    kind, _sep, name = line.subject.partition(":")
    return "" if kind == "company" or not line.subject else name or line.subject


def _changes(frame: Frame, line: AuditLine) -> list[tuple[str, str, str]]:
    """Return (field, before, after); before is empty for what only came into being, after for what ended."""
    before, after = line.detail.get(BEFORE), line.detail.get(AFTER)
    had, has = before if isinstance(before, dict) else {}, after if isinstance(after, dict) else {}
    rest = {name: value for name, value in line.detail.items() if name not in {BEFORE, AFTER}}
    found = []
    for name in dict.fromkeys([*had, *has, *rest]):
        pair = [
            value_text(name, values[name], frame.texts) if values.get(name) is not None else ""
            for values in (had, {**has, **rest})
        ]
        if had and has and not all(pair) and name not in rest:
            pair = [text or UNKNOWN for text in pair]
        found.append((field_text(name, frame.texts), pair[0], pair[1]))
    return [change for change in found if change[1] or change[2]]
