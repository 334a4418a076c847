"""Configurações, tab "Plano e limites": which plan a company has from when; the plans themselves, for operators."""

from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.core.plan import Plan, PlanTerms, TermsChange
from secretaria.services.companies import CURRENCIES
from secretaria.services.plans import (
    PAGE_PLANS_MAX,
    PLAN_NAME_CHARS_MAX,
    PlanHistory,
    operator_day,
    plan_not_found,
)
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.panel.home_frame import home_frame, posted_home_frame
from secretaria.web.panel.plan_words import (
    PLAN_WANTED,
    SOFT,
    entered_of,
    foresight,
    labels,
    problem_text,
    shown_terms,
    term_changes,
    thresholds_text,
    typed_terms,
    usage_rows,
)
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.session import FORM_CHARS_MAX, FormText
from secretaria.web.panel.settings_frame import (
    CONFIRMED,
    ROOT,
    CompanyAsked,
    CompanyChosen,
    Frame,
    Step,
    confirm_page,
    posted_frame,
    tab_page,
)
from secretaria.web.panel.typed import typed_day

PATH: Final = f"{ROOT}/plano"
NO_PLAN: Final = "nenhum"
ID_DIGITS_MAX: Final = 18

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


class TermsForm(BaseModel):
    """A plan's form as a browser sends it; empresa 0: from the list of plans."""

    empresa: int = Field(default=OPERATOR_COMPANY_ID, ge=0, le=COMPANY_ID_MAX)
    name: str = Field(default="", max_length=FORM_CHARS_MAX)
    currency: str = Field(default="BRL", max_length=FORM_CHARS_MAX)
    messages: str = Field(default="", max_length=FORM_CHARS_MAX)
    tokens: str = Field(default="", max_length=FORM_CHARS_MAX)
    cost: str = Field(default="", max_length=FORM_CHARS_MAX)
    thresholds: str = Field(default="", max_length=FORM_CHARS_MAX)
    hard: str = Field(default=SOFT, max_length=FORM_CHARS_MAX)
    desde: str = Field(default="", max_length=FORM_CHARS_MAX)
    conferi: str = Field(default="", max_length=FORM_CHARS_MAX)

    def entered(self) -> dict[str, str]:
        """Return what was typed, without the spaces around it."""
        names = ("name", "currency", "messages", "tokens", "cost", "thresholds", "hard", "desde")
        return {name: getattr(self, name).strip() for name in names}


BLANK: Final = TermsForm(thresholds="80; 100").entered()


@router.get(PATH)
async def plan_tab(
    request: Request,
    empresa: CompanyAsked = OPERATOR_COMPANY_ID,
    plano: str = "",
    apos: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0,
) -> Response:
    """Show a company's plan; without a company to operators the plans, to members their company's."""
    frame = await home_frame(request, empresa, own=True)
    if frame.company.company_id != empresa:
        return RedirectResponse(frame.url(PATH), 303)
    if empresa == OPERATOR_COMPANY_ID:
        return await _plans_page(frame, after=apos)
    return await _company_page(frame, chosen=plano)


@router.post(PATH + "/escolher")
async def choose_plan(
    request: Request, empresa: CompanyChosen, plano: FormText = "", desde: FormText = "", conferi: FormText = ""
) -> Response:
    """Show what another plan would set off; once confirmed, let the company have it."""
    frame = await posted_frame(request, empresa)
    frame.caller.require_operator()
    try:
        start = _start(frame, desde, frame.show.local(frame.now).date())
        plan = None if plano == NO_PLAN else await _plan(frame, plano, wanted=True)
        if conferi == CONFIRMED:
            chosen = None if plan is None else plan.plan_id
            await frame.application.plans.assign(frame.caller, empresa, chosen, effective_from=start, now=frame.now)
            return RedirectResponse(frame.url(PATH, feito="escolhido"), 303)
        step = await _choice_step(frame, plan, start, {"plano": plano, "desde": desde})
    except InvalidInput as error:
        return await _company_page(frame, chosen=plano, since=desde, error=error)
    return confirm_page(frame, step)


@router.post(PATH + "/novo")
async def create_plan(request: Request, form: Annotated[TermsForm, Form()]) -> Response:
    """Show what a new plan would say and set off; once confirmed, make it."""
    frame = await posted_home_frame(request, form.empresa)
    frame.caller.require_operator()
    entered = form.entered()
    try:
        terms = typed_terms(entered, frame.locale)
        if form.conferi == CONFIRMED:
            made = await frame.application.plans.create(
                frame.caller, entered["name"], terms, currency=entered["currency"], now=frame.now
            )
            return RedirectResponse(frame.url(PATH, feito="criado", plano=made.plan_id) + _anchor(form.empresa), 303)
        await frame.application.plans.require_new(frame.caller, entered["name"], entered["currency"])
        step = await _new_step(frame, entered, terms)
    except InvalidInput as error:
        return await _form_again(frame, entered, error)
    return confirm_page(frame, step)


@router.get(PATH + "/{plan_id}")
async def plan_page(request: Request, plan_id: str) -> Response:
    """Show a plan with its limits, past and coming, and the form that changes them."""
    frame = await home_frame(request, OPERATOR_COMPANY_ID)
    return _plan_page(frame, await _plan(frame, plan_id))


@router.post(PATH + "/{plan_id}")
async def change_plan(request: Request, plan_id: str, form: Annotated[TermsForm, Form()]) -> Response:
    """Show what other limits would set off; once confirmed, let them hold from a day on."""
    frame = await posted_home_frame(request, OPERATOR_COMPANY_ID)
    plan, entered, here = await _plan(frame, plan_id), form.entered(), f"{PATH}/{plan_id}"
    try:
        terms = typed_terms(entered, frame.locale)
        start = _start(frame, entered["desde"], operator_day(frame.now))
        before = plan.version_on(start).terms
        if before == terms:
            return RedirectResponse(f"{here}?feito=igual", 303)
        if form.conferi == CONFIRMED:
            await frame.application.plans.change(
                frame.caller, plan.plan_id, _change(terms), effective_from=start, now=frame.now
            )
            return RedirectResponse(f"{here}?feito=salvo", 303)
        step = await _change_step(frame, plan, terms, start, entered)
    except InvalidInput as error:
        return _plan_page(frame, plan, entered=entered, error=error)
    return confirm_page(frame, step)


async def _choice_step(frame: Frame, plan: Plan | None, start: date, fields: dict[str, str]) -> Step:
    _, company_id, currency = frame.texts.gettext, frame.company.company_id, frame.company.currency
    history = await frame.application.plans.history(frame.caller, company_id, frame.now)
    terms = None if plan is None else plan.version_on(start).terms
    if plan is not None and terms is not None and terms.cost is not None and plan.currency != currency:
        raise InvalidInput("another currency", code="currency_mismatch", pointer="/plano")
    preview = await frame.application.plan_previews.of_company(
        frame.caller, company_id, terms, plan.currency if plan else currency, frame.now
    )
    said = foresight(preview, start, history.today, frame.show, frame.texts)
    had = history.current.name if history.current and history.current.name else _("Sem plano")
    has = plan.name if plan else _("Sem plano")
    day = frame.show.day_full(start)
    sentences = [_("Vale a partir de %(dia)s.") % {"dia": day}, said]
    changes = [(_("Plano"), had, has)]
    if plan is not None and terms is not None:
        shown, words = shown_terms(terms, plan.currency, frame.show, frame.texts), labels(frame.texts)
        old = await _shown_now(frame, history)
        changes += [(words[name], old.get(name, "—"), shown[name]) for name in words if old.get(name) != shown[name]]
    return Step(
        heading=_("Confirmar o plano de %(nome)s") % {"nome": frame.company.name}, sentences=sentences,
        button=_("Salvar plano"), action=f"{PATH}/escolher", back=frame.url(PATH),
        fields={"empresa": str(company_id)} | fields | {"desde": start.isoformat()}, changes=changes,
    )  # fmt: skip


async def _shown_now(frame: Frame, history: PlanHistory) -> dict[str, str]:
    """Return what the company's present plan says, nothing where it has none."""
    if history.current is None or history.current.plan_id is None:
        return {}
    plan = await frame.application.plans.get(frame.caller, history.current.plan_id, now=frame.now)
    return shown_terms(plan.version_on(history.today).terms, plan.currency, frame.show, frame.texts)


async def _new_step(frame: Frame, entered: dict[str, str], terms: PlanTerms) -> Step:
    _, company_id = frame.texts.gettext, frame.company.company_id
    sentences = [_("Os limites de um plano novo valem a partir de hoje, para as empresas que o escolherem.")]
    if company_id != OPERATOR_COMPANY_ID:
        preview = await frame.application.plan_previews.of_company(
            frame.caller, company_id, terms, entered["currency"], frame.now
        )
        today = operator_day(frame.now)
        sentences.append(_("Se %(nome)s tivesse este plano:") % {"nome": frame.company.name})
        sentences.append(foresight(preview, date.max, today, frame.show, frame.texts))
    shown, words = shown_terms(terms, entered["currency"], frame.show, frame.texts), labels(frame.texts)
    changes = [(_("Nome"), "—", entered["name"]), (_("Moeda"), "—", entered["currency"])]
    return Step(
        heading=_("Criar o plano %(nome)s?") % {"nome": entered["name"]}, sentences=sentences,
        button=_("Criar plano"), action=f"{PATH}/novo", back=frame.url(PATH),
        fields={"empresa": str(company_id)} | entered,
        changes=changes + [(words[name], "—", shown[name]) for name in words],
    )  # fmt: skip


async def _change_step(frame: Frame, plan: Plan, terms: PlanTerms, start: date, entered: dict[str, str]) -> Step:
    _, here = frame.texts, f"{PATH}/{plan.plan_id}"
    preview = await frame.application.plan_previews.of_plan(
        frame.caller, plan.plan_id, terms, plan.currency, frame.now
    )
    sentences = [_.gettext("Vale a partir de %(dia)s.") % {"dia": frame.show.day_full(start)}]
    if preview.companies:
        held = _.ngettext("%(quantidade)s empresa tem este plano.", "%(quantidade)s empresas têm este plano.",
                          preview.companies)  # fmt: skip
        sentences.append(held % {"quantidade": frame.show.number(preview.companies)})
        sentences.append(foresight(preview, start, operator_day(frame.now), frame.show, _))
    else:
        sentences.append(_.gettext("Nenhuma empresa tem este plano ainda."))
    return Step(
        heading=_.gettext("Confirmar os limites de %(nome)s") % {"nome": plan.name}, sentences=sentences,
        button=_.gettext("Salvar limites"), action=here, back=here,
        fields=entered | {"desde": start.isoformat()},
        changes=term_changes(plan.version_on(start).terms, terms, plan.currency, frame.show, _),
    )  # fmt: skip


async def _company_page(
    frame: Frame,
    *,
    chosen: str = "",
    since: str | None = None,
    entered: dict[str, str] | None = None,
    error: InvalidInput | None = None,
) -> Response:
    application, company_id, show = frame.application, frame.company.company_id, frame.show
    history = await application.plans.history(frame.caller, company_id, frame.now)
    summary = await application.analytics.summary(frame.caller, company_id, frame.now)
    usage = summary.plan
    offered = await application.plans.list(frame.caller, now=frame.now) if frame.caller.is_operator else []
    none = frame.texts.gettext("Sem plano")
    current = history.current.plan_id if history.current else None
    context: dict[str, Any] = {
        "plan": None if usage is None else {
            "name": usage.name, "id": usage.id, "rows": usage_rows(usage, show, frame.texts),
            "since": show.day_full(history.current.effective_from) if history.current else "",
            "thresholds": thresholds_text(tuple(usage.thresholds), frame.texts), "is_hard": usage.hard,
        },
        "history": [
            {"since": show.day_full(of.effective_from), "name": of.name or none, "made": show.moment(of.created_at),
             "is_coming": of.effective_from > history.today, "is_current": of is history.current}
            for of in reversed(history.choices)
        ],
        "options": [(str(of.plan_id), of.name) for of in offered] + [(NO_PLAN, none)],
        "chosen": chosen or (str(current) if current is not None else ""),
        "since": since if since is not None else history.today.isoformat(), "today": history.today.isoformat(),
        "many_plans": len(offered) == PAGE_PLANS_MAX,
        "new": entered or BLANK | {"currency": frame.company.currency}, "is_new_open": entered is not None,
        **_form_words(frame),
    }  # fmt: skip
    if error is not None:
        context |= _problem(frame, error)
    return tab_page(frame, "settings_plan.html", PATH, context, done=_done(frame))


async def _plans_page(
    frame: Frame, *, after: int = 0, entered: dict[str, str] | None = None, error: InvalidInput | None = None
) -> Response:
    plans = await frame.application.plans.list(frame.caller, after=after, now=frame.now)
    today = operator_day(frame.now)
    context: dict[str, Any] = {
        "rows": [
            {"id": of.plan_id, "name": of.name, "companies": frame.show.number(of.companies or 0)}
            | shown_terms(of.version_on(today).terms, of.currency, frame.show, frame.texts)
            for of in plans
        ],
        "first_url": PATH if after else "",
        "next_url": f"{PATH}?apos={plans[-1].plan_id}" if len(plans) == PAGE_PLANS_MAX else "",
        "new": entered or BLANK, **_form_words(frame),
    }  # fmt: skip
    if error is not None:
        context |= _problem(frame, error)
    return tab_page(frame, "settings_plans.html", PATH, context, done=_done(frame))


def _plan_page(
    frame: Frame, plan: Plan, *, entered: dict[str, str] | None = None, error: InvalidInput | None = None
) -> Response:
    today, show = operator_day(frame.now), frame.show
    in_force = plan.version_on(today)
    newest = max(plan.versions, key=lambda version: (version.effective_from, version.version_id))
    companies = plan.companies or 0
    held = frame.texts.ngettext("%(quantidade)s empresa", "%(quantidade)s empresas", companies)
    context: dict[str, Any] = {
        "plan": {"id": plan.plan_id, "name": plan.name, "currency": plan.currency,
                 "held": held % {"quantidade": show.number(companies)}},
        "versions": [
            {"since": show.day_full(of.effective_from), "made": show.moment(of.created_at),
             "is_current": of is in_force, "is_coming": of.effective_from > today,
             **shown_terms(of.terms, plan.currency, show, frame.texts)}
            for of in reversed(plan.versions)
        ],
        "typed": entered or entered_of(newest.terms, show) | {"desde": max(today, newest.effective_from).isoformat()},
        "today": today.isoformat(), **_form_words(frame),
    }  # fmt: skip
    if error is not None:
        context |= _problem(frame, error)
    return tab_page(frame, "settings_plan_limits.html", f"{PATH}/{plan.plan_id}", context, done=_done(frame))


async def _form_again(frame: Frame, entered: dict[str, str], error: InvalidInput) -> Response:
    if frame.company.company_id == OPERATOR_COMPANY_ID:
        return await _plans_page(frame, entered=entered, error=error)
    return await _company_page(frame, entered=entered, error=error)


async def _plan(frame: Frame, asked: str, *, wanted: bool = False) -> Plan:
    """Return the plan of an id. Raises NotFound; with wanted InvalidInput, for a form that has to name one."""
    try:
        if not (asked.isascii() and asked.isdigit() and len(asked) <= ID_DIGITS_MAX):
            raise plan_not_found()
        return await frame.application.plans.get(frame.caller, int(asked), now=frame.now)
    except NotFound:
        if wanted:
            raise InvalidInput("choose a plan", code=PLAN_WANTED, pointer="/plano") from None
        raise


def _start(frame: Frame, typed: str, today: date) -> date:
    """Return the day that was typed, today where none was. Raises InvalidInput."""
    try:
        start = typed_day(typed, frame.locale) if typed.strip() else today
        if start < today:
            raise InvalidInput("that day has begun", code="effective_date_in_past")
    except InvalidInput as error:
        raise InvalidInput(error.message, code=error.code, pointer="/desde") from None
    return start


def _change(terms: PlanTerms) -> TermsChange:
    return TermsChange(terms.messages, terms.tokens, terms.cost, terms.thresholds, terms.hard)


def _anchor(company_id: int) -> str:
    return "#escolher" if company_id else ""


def _form_words(frame: Frame) -> dict[str, Any]:
    return {"labels": labels(frame.texts), "currencies": CURRENCIES, "name_max": PLAN_NAME_CHARS_MAX}


def _problem(frame: Frame, error: InvalidInput) -> dict[str, str]:
    field = (error.pointer or "").strip("/")
    missing = {"effective_date_in_past": "desde", "day_out_of_range": "desde", "currency_mismatch": "plano"}
    return {
        "problem": problem_text(error, frame.locale, frame.texts),
        "problem_field": field or missing.get(error.code, ""),
    }


def _done(frame: Frame) -> dict[str, str]:
    _ = frame.texts.gettext
    return {
        "escolhido": _("Plano salvo."),
        "criado": _("Plano criado."),
        "salvo": _("Limites salvos."),
        "igual": _("Nada mudou: os dados já eram estes."),
    }
