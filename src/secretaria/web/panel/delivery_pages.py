"""Alertas, "Entregas": what was sent to webhooks and e-mail addresses, what came back, and sending it again."""

from datetime import UTC, datetime, time
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.delivery import TEST_PING, DeliveryStatus, EndpointStatus, EventType
from secretaria.core.errors import InvalidInput
from secretaria.services.deliveries import REDELIVERED_AT_ONCE_MAX, delivery_not_found
from secretaria.services.delivery_log import LogPage, Opened
from secretaria.services.endpoints import REDELIVERED_BACK_MAX
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.delivery_endpoints import Endpoint
from secretaria.store.delivery_log import EndpointFigures, LogFilter, LogLine
from secretaria.web.panel.delivery_words import (
    RESULTS,
    answer_text,
    disabled_text,
    event_text,
    place_text,
    result_badge,
    results,
)
from secretaria.web.panel.home_frame import HomeChosen, home_frame, posted_home_frame
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.session import FORM_CHARS_MAX, FormText
from secretaria.web.panel.settings_frame import CONFIRMED, CompanyAsked, Frame, Step, confirm_page, tab_page
from secretaria.web.panel.typed import NO_DAY, typed_day

PATH: Final = "/alertas/entregas"
BODY_INDENT: Final = 2
ID_DIGITS_MAX: Final = 19
# What is wrong with a form; these words stay inside the panel.
ENDPOINT_WANTED: Final = "endpoint_wanted"
NOTHING_SINCE: Final = "nothing_since"

router = APIRouter(route_class=PanelRoute, include_in_schema=False)

Asked = Annotated[str, Query(max_length=FORM_CHARS_MAX)]
After = Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)]


@router.get(PATH)
async def log(
    request: Request,
    *,
    empresa: CompanyAsked = OPERATOR_COMPANY_ID,
    destino: Asked = "",
    resultado: Asked = "",
    evento: Asked = "",
    apos: After = 0,
) -> Response:
    """Show a company's deliveries, newest first; without one a member's own, and to operators the operator's."""
    frame = await home_frame(request, empresa, own=True)
    return await _log_page(frame, {"destino": destino, "resultado": resultado, "evento": evento}, after=apos)


@router.post(PATH + "/reenviar-desde")
async def redeliver_since(
    request: Request, empresa: HomeChosen, destino: FormText = "", desde: FormText = "", conferi: FormText = ""
) -> Response:
    """Deliver again all that was meant for an endpoint since a day, once confirmed."""
    frame = await posted_home_frame(request, empresa)
    chosen = {"destino": destino, "resultado": "", "evento": ""}
    try:
        endpoint = await _endpoint(frame, destino)
        since = _since(frame, desde)
        if conferi == CONFIRMED:
            begun = await frame.application.delivery_endpoints.redeliver_since(
                frame.caller, endpoint.endpoint_id, since, frame.now
            )
            return RedirectResponse(frame.url(PATH, destino=destino, feito="reenviadas", quantas=begun), 303)
        count = await frame.application.delivery_log.count_since(
            frame.caller, empresa, endpoint.endpoint_id, since
        )
        if not count:
            raise InvalidInput("nothing was meant for it since then", code=NOTHING_SINCE)
        if count > REDELIVERED_AT_ONCE_MAX:
            raise InvalidInput("too many", code="too_many_deliveries")
    except InvalidInput as error:
        return await _log_page(frame, chosen, error=error, since=desde)
    return confirm_page(frame, _since_step(frame, endpoint, since, count, desde))


@router.get(PATH + "/{delivery_id}")
async def delivery(request: Request, delivery_id: str, empresa: CompanyAsked = OPERATOR_COMPANY_ID) -> Response:
    """Show one delivery: what it sends, the attempts, what came back."""
    frame = await home_frame(request, empresa, own=True)
    opened = await frame.application.delivery_log.open(frame.caller, _id(delivery_id))
    if opened.line.company_id != frame.company.company_id:
        frame = await home_frame(request, opened.line.company_id)
    return _delivery_page(frame, opened)


@router.post(PATH + "/{delivery_id}/reenviar")
async def redeliver(request: Request, delivery_id: str, empresa: HomeChosen, conferi: FormText = "") -> Response:
    """Deliver again under the same id, once confirmed: the receiver may get it twice."""
    frame = await posted_home_frame(request, empresa)
    opened = await frame.application.delivery_log.open(frame.caller, _id(delivery_id))
    if opened.line.company_id != empresa:
        raise delivery_not_found()
    here, _ = f"{PATH}/{opened.line.delivery_id}", frame.texts.gettext
    if conferi == CONFIRMED:
        await frame.application.deliveries.redeliver(frame.caller, opened.line.delivery_id, frame.now)
        return RedirectResponse(frame.url(here, feito="reenviada"), 303)
    place = place_text(opened.line.channel, opened.line.address)
    sentences = [_("O destino pode receber este evento duas vezes. Reenviar?"),
                 _("O evento vai com o mesmo ID (%(id)s), pelo qual o destino reconhece a repetição.")
                 % {"id": opened.delivery.message_id}]  # fmt: skip
    if opened.line.is_paused:
        sentences.append(_("A fila deste destino está pausada: o evento espera até ela ser reativada."))
    step = Step(
        heading=_("Reenviar para %(destino)s?") % {"destino": place}, sentences=sentences, button=_("Reenviar"),
        action=f"{here}/reenviar", back=frame.url(here), fields={"empresa": str(empresa)},
    )  # fmt: skip
    return confirm_page(frame, step)


async def _log_page(
    frame: Frame, chosen: dict[str, str], *, after: int = 0, error: InvalidInput | None = None, since: str = ""
) -> Response:
    application, company_id = frame.application, frame.company.company_id
    page = await application.delivery_log.page(frame.caller, company_id, _filter(chosen), after=after or None)
    endpoints = await application.delivery_endpoints.list(frame.caller, company_id)
    figures = await application.delivery_log.figures(frame.caller, company_id, frame.now)
    kept = {name: value for name, value in chosen.items() if value}
    context: dict[str, Any] = {
        "rows": [_row(frame, line, page) for line in page.lines],
        "is_home": company_id == OPERATOR_COMPANY_ID,
        "filters": _filters(frame, page, chosen),
        "is_filtered": bool(kept),
        "first_url": _url(frame, kept) if after else "",
        "next_url": _url(frame, kept | {"apos": str(page.next_after)}) if page.next_after else "",
        "paused": [_paused(frame, of, figures) for of in endpoints if of.status is EndpointStatus.DISABLED],
        "destinations": [(str(of.endpoint_id), place_text(of.channel, of.address)) for of in endpoints],
        "destination": chosen["destino"], "since": since, "days_back_max": REDELIVERED_BACK_MAX.days,
    }  # fmt: skip
    if error is not None:
        context |= {"problem": _problem(frame, error), "problem_field": "desde"}
    return tab_page(frame, "delivery_log.html", PATH, context, done=_done(frame))


def _row(frame: Frame, line: LogLine, page: LogPage) -> dict[str, Any]:
    show, sentences = frame.show, frame.texts
    word, kind = result_badge(line, sentences)
    return {
        "id": line.delivery_id,
        "time": show.moment(line.created_at),
        "event": event_text(line.event_type, sentences),
        "about": page.names.get(line.about_company_id, ""),
        "place": place_text(line.channel, line.address),
        "is_removed": line.is_removed,
        "is_paused": line.is_paused and line.status is DeliveryStatus.WAITING,
        "answer": answer_text(line.status_code, line.error, sentences),
        "duration": show.duration(line.duration_ms),
        "attempts": line.attempts,
        "next": _next(frame, line),
        "state": word,
        "kind": kind,
    }


def _next(frame: Frame, line: LogLine) -> str:
    """Return when it is tried next; nothing for what is over or paused."""
    if line.status is not DeliveryStatus.WAITING or line.is_paused:
        return "—"
    if line.next_attempt_at <= frame.now:
        return frame.texts.gettext("agora")
    local, today = frame.show.local(line.next_attempt_at), frame.show.local(frame.now).date()
    clock = frame.show.clock(line.next_attempt_at)
    return clock if local.date() == today else f"{frame.show.day(local.date())} {clock}"


def _filters(frame: Frame, page: LogPage, chosen: dict[str, str]) -> list[dict[str, Any]]:
    _ = frame.texts.gettext
    removed = _("removido")
    places = [
        (str(of.endpoint_id), place_text(of.channel, of.address) + (f" ({removed})" if of.is_removed else ""))
        for of in page.destinations
    ]
    events = [(of, event_text(of, frame.texts)) for of in (*(event.value for event in EventType), TEST_PING)]
    options = {
        "destino": (_("Destino"), places), "resultado": (_("Resultado"), list(results(frame.texts).items())),
        "evento": (_("Evento"), events),
    }  # fmt: skip
    return [
        {"name": name, "label": label, "options": [("", _("todos")), *found], "chosen": chosen[name]}
        for name, (label, found) in options.items()
    ]


def _filter(chosen: dict[str, str]) -> LogFilter:
    """Return what was asked for; a word nobody knows narrows nothing."""
    result = RESULTS.get(chosen["resultado"], LogFilter())
    return LogFilter(_number(chosen["destino"]), chosen["evento"] or None, result.status, result.has_tried)


def _url(frame: Frame, kept: dict[str, str]) -> str:
    return f"{PATH}?{urlencode({'empresa': frame.company.company_id} | kept)}"


def _paused(frame: Frame, endpoint: Endpoint, figures: dict[int, EndpointFigures]) -> dict[str, Any]:
    """Return the notice of a queue that stands still: since when, why, and how much waits."""
    _, waiting = frame.texts, figures.get(endpoint.endpoint_id, EndpointFigures()).waiting
    since = frame.show.moment(endpoint.disabled_at) if endpoint.disabled_at else "—"
    sentence = _.ngettext(
        "Fila pausada desde %(data)s: %(destino)s. %(quantidade)s evento espera.",
        "Fila pausada desde %(data)s: %(destino)s. %(quantidade)s eventos esperam.", waiting,
    )  # fmt: skip
    place = place_text(endpoint.channel, endpoint.address)
    return {
        "id": endpoint.endpoint_id,
        "sentence": sentence % {"data": since, "destino": place, "quantidade": frame.show.number(waiting)},
        "reason": disabled_text(endpoint.disabled_reason, _),
        "may_enable": not endpoint.from_settings or endpoint.disabled_reason != "unset",
    }


def _delivery_page(frame: Frame, opened: Opened) -> Response:
    line, sentences = opened.line, frame.texts
    word, kind = result_badge(line, sentences)
    attempts = [
        {
            "number": of.attempt,
            "time": f"{frame.show.day(frame.show.local(of.at).date())} {frame.show.local(of.at):%H:%M:%S}",
            "answer": answer_text(of.status_code, of.error, sentences),
            "duration": frame.show.duration(of.duration_ms),
            "head": of.answer,
        }
        for of in reversed(opened.attempts)
    ]
    values = {
        "log_url": frame.url(PATH), "home_name": frame.company.name,
        "id": line.delivery_id, "event": event_text(line.event_type, sentences), "type": line.event_type,
        "place": place_text(line.channel, line.address), "state": word, "kind": kind,
        "time": frame.show.moment(line.created_at), "about": opened.about if not frame.company.company_id else "",
        "next": _next(frame, line), "message_id": opened.delivery.message_id, "attempts": attempts,
        "body": msgspec.json.format(opened.delivery.body, indent=BODY_INDENT),
        "is_removed": line.is_removed, "is_paused": line.is_paused and line.status is DeliveryStatus.WAITING,
        "is_waiting": line.status is DeliveryStatus.WAITING, "hidden_attempts": line.attempts - len(attempts),
        "again_url": frame.url(f"{PATH}/{line.delivery_id}"),
    }  # fmt: skip
    return tab_page(frame, "delivery.html", f"{PATH}/{line.delivery_id}", values, done=_done(frame))


async def _endpoint(frame: Frame, chosen: str) -> Endpoint:
    """Return the endpoint a form names, of this company. Raises InvalidInput."""
    endpoints = await frame.application.delivery_endpoints.list(frame.caller, frame.company.company_id)
    found = next((of for of in endpoints if str(of.endpoint_id) == chosen), None)
    if found is None:
        raise InvalidInput("choose an endpoint", code=ENDPOINT_WANTED)
    return found


def _since(frame: Frame, typed: str) -> datetime:
    """Return where a typed day begins on the reader's clock; today's and yesterday's both are days that began."""
    begins = datetime.combine(typed_day(typed, frame.locale), time(), ZoneInfo(frame.show.timezone))
    if not frame.now - REDELIVERED_BACK_MAX <= begins <= frame.now:
        raise InvalidInput("out of range", code="day_out_of_range")
    return begins.astimezone(UTC)


def _since_step(frame: Frame, endpoint: Endpoint, since: datetime, count: int, typed: str) -> Step:
    _, number = frame.texts, frame.show.number(count)
    place = place_text(endpoint.channel, endpoint.address)
    day = frame.show.day_full(frame.show.local(since).date())
    sentence = _.ngettext(
        "%(quantidade)s evento desde %(dia)s vai de novo, com o mesmo ID.",
        "%(quantidade)s eventos desde %(dia)s vão de novo, cada um com o mesmo ID.", count,
    )  # fmt: skip
    return Step(
        heading=_.gettext("Reenviar tudo para %(destino)s?") % {"destino": place},
        sentences=[sentence % {"quantidade": number, "dia": day},
                   _.gettext("O destino pode receber estes eventos duas vezes.")],
        button=_.gettext("Reenviar tudo"), action=f"{PATH}/reenviar-desde",
        back=frame.url(PATH, destino=endpoint.endpoint_id),
        fields={"empresa": str(frame.company.company_id), "destino": str(endpoint.endpoint_id), "desde": typed},
    )  # fmt: skip


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX and int(text) <= COMPANY_ID_MAX
    return int(text) if is_number else None


def _id(text: str) -> int:
    found = _number(text)
    if found is None:
        raise delivery_not_found()
    return found


def _done(frame: Frame) -> dict[str, str]:
    _ = frame.texts
    asked = _number(frame.request.query_params.get("quantas", "")) or 0
    many = _.ngettext("%(quantidade)s evento de volta à fila.", "%(quantidade)s eventos de volta à fila.", asked)
    return {
        "reenviada": _.gettext("De volta à fila: o evento é enviado de novo agora."),
        "reenviadas": many % {"quantidade": frame.show.number(asked)},
        "reativada": _.gettext("Fila reativada: o que esperava é enviado agora."),
    }


def _problem(frame: Frame, error: InvalidInput) -> str:
    _ = frame.texts.gettext
    known = {
        ENDPOINT_WANTED: _("Escolha o destino."),
        NO_DAY: _("Informe uma data, como 20/11/2026."),
        NOTHING_SINCE: _("Nada foi enviado a este destino desde então."),
        "day_out_of_range": _("Escolha um dia dos últimos %(dias)s, até hoje.") % {"dias": REDELIVERED_BACK_MAX.days},
        "too_many_deliveries": _("São mais de %(quantidade)s eventos. Escolha uma data mais recente.")
        % {"quantidade": frame.show.number(REDELIVERED_AT_ONCE_MAX)},
    }
    return known.get(error.code, _("Nada foi alterado."))
