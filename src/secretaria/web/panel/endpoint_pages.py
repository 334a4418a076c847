"""Configurações, tab "Webhooks e e-mail": where alerts go, of a company or (company 0) of the operator."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.delivery import Channel, DeliveryStatus
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.services.deliveries import shown_address
from secretaria.services.delivery_log import Opened
from secretaria.services.endpoints import NewSecret, endpoint_not_found
from secretaria.services.signing import OVERLAP
from secretaria.store.delivery_endpoints import Endpoint
from secretaria.store.delivery_log import EndpointFigures
from secretaria.web.panel.delivery_pages import PATH as LOG_PATH
from secretaria.web.panel.delivery_words import answer_text, place_text, result_badge
from secretaria.web.panel.endpoint_words import (
    changes_of,
    event_choices,
    problem_field,
    problem_text,
    shown_endpoint,
)
from secretaria.web.panel.home_frame import HomeChosen, home_frame, posted_home_frame
from secretaria.web.panel.i18n import LOCALE_NAMES
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.session import FORM_CHARS_MAX, FormText
from secretaria.web.panel.settings_frame import (
    CONFIRMED,
    ROOT,
    CompanyAsked,
    Frame,
    Step,
    confirm_page,
    tab_page,
)

PATH: Final = f"{ROOT}/webhooks"
EVENTS_SENT_MAX: Final = 20
TEST_WAIT_S: Final = 2.5
"""How long whoever asked for a test waits for its result on the way to the page; most answers are there sooner."""

TEST_LOOKS_MAX: Final = 10
OVERLAP_HOURS: Final = OVERLAP // timedelta(hours=1)
BLANK: Final = {"endereco": "", "descricao": "", "idioma": "pt-BR"}

router = APIRouter(route_class=PanelRoute, include_in_schema=False)

Events = Annotated[list[str], Form(max_length=EVENTS_SENT_MAX)]


@router.get(PATH)
async def endpoints_tab(request: Request, empresa: CompanyAsked = OPERATOR_COMPANY_ID, teste: str = "") -> Response:
    """Show where a company's news go; without one to operators the operator's own, to members their company's."""
    frame = await home_frame(request, empresa, own=True)
    if frame.company.company_id != empresa:
        return RedirectResponse(frame.url(PATH), 303)
    return await _page(frame, tested=teste)


@router.post(PATH)
async def create_endpoint(
    request: Request,
    *,
    empresa: HomeChosen,
    canal: FormText = Channel.WEBHOOK.value,
    endereco: FormText = "",
    descricao: FormText = "",
    idioma: FormText = "pt-BR",
    eventos: Events = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """Add a webhook, whose secret is shown this once, or an e-mail address."""
    frame = await posted_home_frame(request, empresa)
    entered = {"canal": canal, "endereco": endereco.strip(), "descricao": descricao.strip(), "idioma": idioma}
    try:
        made = await frame.application.delivery_endpoints.create(
            frame.caller, empresa, canal, entered["endereco"], description=entered["descricao"], events=eventos,
            locale=idioma, now=frame.now,
        )  # fmt: skip
    except InvalidInput as error:
        return await _page(frame, entered=(entered, eventos), error=error)
    if made.secret is None:
        return RedirectResponse(frame.url(PATH, feito="criado"), 303)
    return await _page(frame, made=made)


@router.post(PATH + "/testar")
async def send_test(request: Request, empresa: HomeChosen, destino: FormText = "") -> Response:
    """Send a test, wait a moment for what comes of it, and show that."""
    frame = await posted_home_frame(request, empresa)
    endpoint = await _endpoint(frame, destino)
    try:
        delivery_id = await frame.application.delivery_endpoints.test(frame.caller, endpoint.endpoint_id, frame.now)
    except InvalidInput as error:
        return await _page(frame, error=error)
    await _result(frame, delivery_id)
    return RedirectResponse(frame.url(PATH, teste=delivery_id) + "#teste", 303)


@router.post(PATH + "/girar")
async def rotate_secret(
    request: Request, empresa: HomeChosen, destino: FormText = "", conferi: FormText = ""
) -> Response:
    """Give a webhook another secret, once confirmed, and show it this once."""
    frame = await posted_home_frame(request, empresa)
    endpoint = await _endpoint(frame, destino)
    if conferi == CONFIRMED:
        try:
            made = await frame.application.delivery_endpoints.rotate(frame.caller, endpoint.endpoint_id, frame.now)
        except InvalidInput as error:
            return await _page(frame, error=error)
        return await _page(frame, made=made, is_rotated=True)
    _ = frame.texts.gettext
    sentences = [
        _("O segredo novo aparece uma única vez."),
        _("Por %(horas)s horas cada envio leva as duas assinaturas, a do segredo novo e a do atual: troque-o no "
          "destino nesse tempo. Depois, só o novo assina.") % {"horas": OVERLAP_HOURS},
    ]  # fmt: skip
    words = _("Girar o segredo de %(destino)s?"), sentences, _("Girar segredo")
    return confirm_page(frame, _step(frame, endpoint, "girar", words))


@router.post(PATH + "/reativar")
async def enable_endpoint(
    request: Request, empresa: HomeChosen, destino: FormText = "", voltar: FormText = "", conferi: FormText = ""
) -> Response:
    """Let an endpoint be tried again, once confirmed, and come back to the page that asked."""
    frame = await posted_home_frame(request, empresa)
    endpoint = await _endpoint(frame, destino)
    back = LOG_PATH if voltar == "entregas" else PATH
    if conferi == CONFIRMED:
        try:
            await frame.application.delivery_endpoints.enable(frame.caller, endpoint.endpoint_id, frame.now)
        except InvalidInput as error:
            return await _page(frame, error=error)
        return RedirectResponse(frame.url(back, feito="reativada"), 303)
    _, figures = frame.texts, await frame.application.delivery_log.figures(frame.caller, empresa, frame.now)
    waiting = figures.get(endpoint.endpoint_id, EndpointFigures()).waiting
    sentence = _.ngettext("%(quantidade)s evento espera e é enviado em seguida.",
                          "%(quantidade)s eventos esperam e são enviados em seguida.", waiting)  # fmt: skip
    said = sentence % {"quantidade": frame.show.number(waiting)}
    words = _.gettext("Reativar a fila de %(destino)s?"), [said], _.gettext("Reativar fila")
    return confirm_page(frame, _step(frame, endpoint, "reativar", words, back=back, voltar=voltar))


@router.post(PATH + "/remover")
async def remove_endpoint(
    request: Request, empresa: HomeChosen, destino: FormText = "", conferi: FormText = ""
) -> Response:
    """Remove an endpoint, once confirmed; its log stays."""
    frame = await posted_home_frame(request, empresa)
    endpoint = await _endpoint(frame, destino)
    if conferi == CONFIRMED:
        try:
            await frame.application.delivery_endpoints.remove(frame.caller, endpoint.endpoint_id, frame.now)
        except InvalidInput as error:
            return await _page(frame, error=error)
        return RedirectResponse(frame.url(PATH, feito="removido"), 303)
    _ = frame.texts.gettext
    sentences = [_("Nada mais é enviado a este destino, e o que espera por ele é cancelado. As entregas feitas "
                   "continuam no registro.")]  # fmt: skip
    words = _("Remover %(destino)s?"), sentences, _("Remover destino")
    return confirm_page(frame, _step(frame, endpoint, "remover", words, is_danger=True))


@router.get(PATH + "/{endpoint_id}")
async def edit_endpoint(
    request: Request, endpoint_id: str, empresa: CompanyAsked = OPERATOR_COMPANY_ID
) -> Response:
    """Show what may be changed of an endpoint."""
    frame = await home_frame(request, empresa, own=True)
    return _edit_page(frame, await _endpoint(frame, endpoint_id))


@router.post(PATH + "/{endpoint_id}")
async def change_endpoint(
    request: Request,
    endpoint_id: str,
    *,
    empresa: HomeChosen,
    endereco: FormText = "",
    descricao: FormText = "",
    idioma: FormText = "",
    eventos: Events = [],  # noqa: B006  FastAPI copies it
    conferi: Annotated[str, Form(max_length=FORM_CHARS_MAX)] = "",
) -> Response:
    """Show what would change of an endpoint; once confirmed, change it."""
    frame = await posted_home_frame(request, empresa)
    endpoint = await _endpoint(frame, endpoint_id)
    # The confirming page sends the events as one word; the form's check boxes send one each.
    chosen = [of for sent in eventos for of in sent.split(",") if of]
    change: dict[str, Any] = {"description": descricao.strip(), "events": chosen, "locale": idioma or endpoint.locale}
    # What is shown of an address with a query hides it: sent back as shown, it stays.
    if endereco.strip() != shown_address(endpoint.address):
        change["address"] = endereco.strip()
    entered = {"endereco": endereco.strip(), "descricao": descricao.strip(), "idioma": change["locale"]}
    service = frame.application.delivery_endpoints
    try:
        if conferi == CONFIRMED:
            await service.change(frame.caller, endpoint.endpoint_id, change, frame.now)
            return RedirectResponse(frame.url(PATH, feito="salvo"), 303)
        after = await service.preview(frame.caller, endpoint.endpoint_id, change)
    except InvalidInput as error:
        return _edit_page(frame, endpoint, entered=(entered, chosen), error=error)
    changes = changes_of(endpoint, after, frame.texts)
    if not changes:
        return RedirectResponse(frame.url(PATH, feito="igual"), 303)
    _, here = frame.texts.gettext, f"{PATH}/{endpoint.endpoint_id}"
    sentences = []
    if after.address != endpoint.address:
        sentences.append(_("O que espera na fila vai para o endereço novo."))
        if endpoint.channel is Channel.WEBHOOK:
            sentences.append(_("O segredo continua o mesmo."))
    step = Step(
        heading=_("Confirmar as alterações"), sentences=sentences, button=_("Salvar alterações"), action=here,
        back=frame.url(here), fields={"empresa": str(empresa), "eventos": ",".join(chosen)} | entered, changes=changes,
    )  # fmt: skip
    return confirm_page(frame, step)


async def _endpoint(frame: Frame, chosen: str) -> Endpoint:
    """Return the endpoint that is named, of the frame's company. Raises NotFound."""
    endpoints = await frame.application.delivery_endpoints.list(frame.caller, frame.company.company_id)
    found = next((of for of in endpoints if str(of.endpoint_id) == chosen), None)
    if found is None:
        raise endpoint_not_found()
    return found


def _step(
    frame: Frame,
    endpoint: Endpoint,
    path: str,
    words: tuple[str, list[str], str],
    *,
    is_danger: bool = False,
    back: str = PATH,
    **more: str,
) -> Step:
    """Return the step that confirms something; words are its heading, what it does, and the button."""
    heading, sentences, button = words
    place = place_text(endpoint.channel, endpoint.address)
    fields = {"empresa": str(frame.company.company_id), "destino": str(endpoint.endpoint_id)} | more
    return Step(
        heading % {"destino": place}, sentences, button, action=f"{PATH}/{path}", back=frame.url(back), fields=fields,
        is_danger=is_danger,
    )  # fmt: skip


async def _result(frame: Frame, delivery_id: int) -> None:
    """Wait until a test is over, or for TEST_WAIT_S."""
    for _ in range(TEST_LOOKS_MAX):
        opened = await frame.application.delivery_log.open(frame.caller, delivery_id)
        if opened.line.status is not DeliveryStatus.WAITING:
            return
        await asyncio.sleep(TEST_WAIT_S / TEST_LOOKS_MAX)


async def _tested(frame: Frame, asked: str) -> dict[str, Any] | None:
    """Return what became of the test that the address names; None when it names none of this company."""
    if not (asked.isascii() and asked.isdigit()):
        return None
    try:
        opened: Opened = await frame.application.delivery_log.open(frame.caller, int(asked[:18]))
    except NotFound:
        return None
    line = opened.line
    if line.company_id != frame.company.company_id:
        return None
    word, kind = result_badge(line, frame.texts)
    head = opened.attempts[-1].answer if opened.attempts else ""
    return {
        "place": place_text(line.channel, line.address), "state": word, "kind": kind, "head": head,
        "answer": answer_text(line.status_code, line.error, frame.texts), "is_mail": line.channel is Channel.MAIL,
        "duration": frame.show.duration(line.duration_ms), "is_waiting": line.status is DeliveryStatus.WAITING,
        "is_delivered": line.status is DeliveryStatus.DELIVERED, "url": frame.url(f"{LOG_PATH}/{line.delivery_id}"),
        "again_url": frame.url(PATH, teste=line.delivery_id),
    }  # fmt: skip


async def _page(
    frame: Frame,
    *,
    made: NewSecret | None = None,
    is_rotated: bool = False,
    entered: tuple[dict[str, str], list[str]] | None = None,
    error: InvalidInput | None = None,
    tested: str = "",
) -> Response:
    company_id, sentences = frame.company.company_id, frame.texts
    endpoints = await frame.application.delivery_endpoints.list(frame.caller, company_id)
    figures = await frame.application.delivery_log.figures(frame.caller, company_id, frame.now)
    typed, events = entered or (BLANK, None)
    is_mail = typed.get("canal") == Channel.MAIL
    context: dict[str, Any] = {
        "endpoints": [
            shown_endpoint(of, figures.get(of.endpoint_id, EndpointFigures()), frame.show, sentences)
            for of in endpoints
        ],
        "is_home": company_id == OPERATOR_COMPANY_ID,
        "log_url": frame.url(LOG_PATH),
        "webhook": BLANK if is_mail else typed, "mail": typed if is_mail else BLANK,
        "webhook_events": event_choices(Channel.WEBHOOK, None if is_mail else events, sentences),
        "mail_events": event_choices(Channel.MAIL, events if is_mail else None, sentences),
        "languages": list(LOCALE_NAMES.items()),
        "mail_is_set_up": bool(frame.application.settings.smtp_url),
        "secret": made.secret if made else "", "is_rotated": is_rotated,
        "secret_place": place_text(made.endpoint.channel, made.endpoint.address) if made else "",
        "tested": await _tested(frame, tested) if tested else None,
        "overlap_hours": OVERLAP_HOURS,
    }  # fmt: skip
    if error is not None:
        form, field = "mail" if is_mail else "webhook", problem_field(error) if entered else ""
        problem = problem_text(error, sentences)
        context |= {"problem": problem, "problem_field": f"{form}-{field}" if field else ""}
    return tab_page(frame, "settings_webhooks.html", PATH, context, done=_done(frame))


def _edit_page(
    frame: Frame,
    endpoint: Endpoint,
    *,
    entered: tuple[dict[str, str], list[str]] | None = None,
    error: InvalidInput | None = None,
) -> Response:
    stored = {"endereco": shown_address(endpoint.address), "descricao": endpoint.description, "idioma": endpoint.locale}
    typed, events = entered or (stored, list(endpoint.events))
    context: dict[str, Any] = {
        "id": endpoint.endpoint_id, "place": place_text(endpoint.channel, endpoint.address), "typed": typed,
        "is_mail": endpoint.channel is Channel.MAIL,
        "events_offered": event_choices(endpoint.channel, events, frame.texts),
        "languages": list(LOCALE_NAMES.items()), "back_url": frame.url(PATH), "from_settings": endpoint.from_settings,
    }  # fmt: skip
    if error is not None:
        form, field = "mail" if endpoint.channel is Channel.MAIL else "webhook", problem_field(error)
        context |= {"problem": problem_text(error, frame.texts), "problem_field": f"{form}-{field}" if field else ""}
    return tab_page(frame, "settings_webhook.html", f"{PATH}/{endpoint.endpoint_id}", context)


def _done(frame: Frame) -> dict[str, str]:
    _ = frame.texts.gettext
    return {
        "criado": _("Endereço adicionado."),
        "salvo": _("Alterações salvas."),
        "igual": _("Nada mudou: os dados já eram estes."),
        "reativada": _("Fila reativada: o que esperava é enviado agora."),
        "removido": _("Destino removido."),
    }
