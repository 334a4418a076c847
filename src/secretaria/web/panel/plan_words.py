"""The words of plans in the settings: limits as people read and type them, and what saving them would set off."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from secretaria.core import money
from secretaria.core.errors import InvalidInput
from secretaria.core.limit import CRITICAL_PERCENT
from secretaria.core.plan import THRESHOLD_PERCENT_MAX, THRESHOLDS_MAX, PlanTerms
from secretaria.services.figures import PlanUsage
from secretaria.services.plan_preview import FORESEEN_COMPANIES_MAX, PlanPreview
from secretaria.services.plans import PLAN_NAME_CHARS_MAX
from secretaria.web.panel.format import NBSP, Format, rounded
from secretaria.web.panel.i18n import Texts
from secretaria.web.panel.typed import (
    AMBIGUOUS,
    NO_DAY,
    NO_NUMBER,
    typed_amount,
    typed_quantity,
    typed_thresholds,
)

HARD: Final = "bloquear"
SOFT: Final = "avisar"
PLAN_WANTED: Final = "plan_wanted"
FIELDS: Final = ("messages", "tokens", "cost", "thresholds", "hard")


def typed_terms(entered: Mapping[str, str], locale: str) -> PlanTerms:
    """Read a form's limits; an empty one is unlimited. Raises InvalidInput, its pointer the field."""
    messages, tokens = (_typed(name, entered, locale) for name in ("messages", "tokens"))
    cost = entered["cost"]
    try:
        amount = typed_amount(cost, locale) if cost else None
    except InvalidInput as error:
        raise _at("cost", error) from None
    try:
        thresholds = typed_thresholds(entered["thresholds"])
    except InvalidInput as error:
        raise _at("thresholds", error) from None
    return PlanTerms(messages, tokens, amount, thresholds, entered["hard"] == HARD).checked()


def _typed(name: str, entered: Mapping[str, str], locale: str) -> int | None:
    try:
        return typed_quantity(entered[name], locale) if entered[name] else None
    except InvalidInput as error:
        raise _at(name, error) from None


def _at(field: str, error: InvalidInput) -> InvalidInput:
    return InvalidInput(error.message, code=error.code, pointer=f"/{field}")


def entered_of(terms: PlanTerms, show: Format) -> dict[str, str]:
    """Return what a form holds for terms, in the reader's own way to write numbers."""
    return {
        "messages": "" if terms.messages is None else show.number(terms.messages),
        "tokens": "" if terms.tokens is None else show.number(terms.tokens),
        "cost": "" if terms.cost is None else show.number(terms.cost, _decimals(terms.cost)),
        "thresholds": "; ".join(str(of) for of in terms.thresholds),
        "hard": HARD if terms.hard else SOFT,
    }


def shown_terms(terms: PlanTerms, currency: str, show: Format, sentences: Texts) -> dict[str, str]:
    """Return terms as people read them."""
    none = sentences.gettext("sem limite")
    return {
        "messages": none if terms.messages is None else show.number(terms.messages),
        "tokens": none if terms.tokens is None else show.number(terms.tokens),
        "cost": none if terms.cost is None else show.exact(terms.cost, currency),
        "thresholds": thresholds_text(terms.thresholds, sentences),
        "hard": hard_text(terms.hard, sentences),
    }


def thresholds_text(thresholds: tuple[int, ...], sentences: Texts) -> str:
    """Return at which percentages alerts fire, each with its level."""
    _ = sentences.gettext
    warning, critical = _("aviso"), _("crítico")
    return " · ".join(f"{critical if of >= CRITICAL_PERCENT else warning}{NBSP}{of}%" for of in thresholds)


def hard_text(hard: bool, sentences: Texts) -> str:
    """Return what happens at 100 %."""
    _ = sentences.gettext
    return _("Bloquear campanhas no limite") if hard else _("Só avisar")


def labels(sentences: Texts) -> dict[str, str]:
    """Return what the parts of a plan are called."""
    _ = sentences.gettext
    return {
        "messages": _("Mensagens por mês"),
        "tokens": _("Tokens por mês"),
        "cost": _("Custo por mês"),
        "thresholds": _("Níveis de alerta"),
        "hard": _("Ao chegar a 100%"),
    }


def term_changes(
    before: PlanTerms, after: PlanTerms, currency: str, show: Format, sentences: Texts
) -> list[tuple[str, str, str]]:
    """Return (what, before, after) of the terms that differ."""
    had, has, words = (
        shown_terms(before, currency, show, sentences), shown_terms(after, currency, show, sentences), labels(sentences)
    )  # fmt: skip
    return [(words[name], had[name], has[name]) for name in FIELDS if had[name] != has[name]]


def foresight(preview: PlanPreview, start: date, today: date, show: Format, sentences: Texts) -> str:
    """Return what saving would set off: "Com o uso de hoje, estes limites geram agora: 1 crítico, 1 aviso."."""
    _ = sentences
    if preview.too_many:
        return _.gettext("Mais de %(quantidade)s empresas têm este plano: a prévia dos alertas não é calculada.") % {
            "quantidade": show.number(FORESEEN_COMPANIES_MAX)
        }
    fired = ", ".join(_counted(preview, show, _))
    if start > today:
        said = _.gettext("Com o uso de hoje, estes limites gerariam: %(alertas)s.") if fired else _.gettext(
            "Com o uso de hoje, estes limites não gerariam nenhum alerta novo.")
        over = _.ngettext("%(quantidade)s alerta aberto seria resolvido.",
                          "%(quantidade)s alertas abertos seriam resolvidos.", preview.resolved)
    else:
        said = _.gettext("Com o uso de hoje, estes limites geram agora: %(alertas)s.") if fired else _.gettext(
            "Com o uso de hoje, estes limites não geram nenhum alerta novo.")
        over = _.ngettext("%(quantidade)s alerta aberto é resolvido.",
                          "%(quantidade)s alertas abertos são resolvidos.", preview.resolved)
    said = said % {"alertas": fired} if fired else said
    return f"{said} {over % {'quantidade': show.number(preview.resolved)}}" if preview.resolved else said


def _counted(preview: PlanPreview, show: Format, _: Texts) -> list[str]:
    counts = (
        (preview.critical, _.ngettext("%(quantidade)s crítico", "%(quantidade)s críticos", preview.critical)),
        (preview.warning, _.ngettext("%(quantidade)s aviso", "%(quantidade)s avisos", preview.warning)),
    )
    return [text % {"quantidade": show.number(count)} for count, text in counts if count]


def usage_rows(plan: PlanUsage, show: Format, sentences: Texts) -> list[dict[str, Any]]:
    """Return a plan's limits with what was used of each this month."""
    _ = sentences.gettext
    names = {"messages": _("Mensagens"), "tokens": _("Tokens"), "cost": _("Custo estimado")}
    states = {
        "normal": ("● " + _("Normal"), "ok"),
        "warning": ("▲ " + _("Aviso"), "warn"),
        "critical": ("✕ " + _("Crítico"), "crit"),
    }
    rows = []
    for of in plan.limits:
        is_cost = of.metric == "cost"
        used, limit = Decimal(of.used), Decimal(of.limit)
        word, kind = states[of.state.value]
        rows.append(
            {
                "name": names[of.metric.value],
                "limit": show.exact(limit, plan.currency) if is_cost else show.number(limit),
                "used": show.cost(used, plan.currency, lower_bound=of.lower_bound, full=True) if is_cost
                else show.number(used),
                "percent": show.percent(money.cut(Decimal(of.percent), 1)),
                "state": word,
                "kind": kind,
            }
        )  # fmt: skip
    return rows


def problem_text(error: InvalidInput, locale: str, sentences: Texts) -> str:
    """Return what is wrong with a form, and what to write instead."""
    _, field = sentences.gettext, (error.pointer or "").strip("/")
    known = {
        "invalid_name": _("O nome tem 1 a %(quantidade)s caracteres, não é só números nem “none”.")
        % {"quantidade": PLAN_NAME_CHARS_MAX},
        "plan_exists": _("Já existe um plano com este nome."),
        "unknown_currency": _("A moeda é BRL ou USD."),
        "invalid_plan_limit": _("Informe um limite maior que zero."),
        "invalid_thresholds": _(
            "Informe de 1 a %(quantidade)s porcentagens inteiras e diferentes, de 1 a %(maior)s: 80; 100."
        )
        % {"quantidade": THRESHOLDS_MAX, "maior": Format(locale).number(THRESHOLD_PERCENT_MAX)},
        NO_DAY: _("Informe uma data, como 20/11/2026."),
        "effective_date_in_past": _("Os dias que já começaram não mudam: escolha hoje ou uma data futura."),
        "day_out_of_range": _("Esta data está longe demais."),
        "currency_mismatch": _("O limite de custo do plano é em outra moeda que a da empresa."),
        "too_many_versions": _("Este plano já mudou vezes demais. Crie outro."),
        PLAN_WANTED: _("Escolha o plano."),
    }  # fmt: skip
    if error.code in {AMBIGUOUS, NO_NUMBER}:
        if field == "cost":
            said = (_("Não está claro que valor é este. Escreva como 1.500,00.") if error.code == AMBIGUOUS
                    else _("Escreva um valor, como 1.500,00."))  # fmt: skip
        else:
            said = (_("Não está claro que número é este. Escreva como 20.000.") if error.code == AMBIGUOUS
                    else _("Escreva um número inteiro, como 20.000."))  # fmt: skip
        return said
    return known.get(error.code, _("Nada foi alterado."))


def _decimals(amount: Decimal) -> int:
    """Return how many decimals write an amount in full, two at least."""
    places = 2
    while rounded(amount, places) != amount:
        places += 1
    return places
