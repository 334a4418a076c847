"""How near a company is to its plan's limits, as ready strings and widths: a page and its updates say the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.crossing import AlertKind, AlertLevel
from secretaria.core.forecast import ForecastOutcome
from secretaria.core.limit import CRITICAL_PERCENT, LimitState
from secretaria.core.plan import LimitMetric
from secretaria.services.figures import AlertFigures, LimitUsage, PlanMonth, PlanUsage
from secretaria.web.panel.alert_words import level_name, metric_name, when
from secretaria.web.panel.figures import View
from secretaria.web.panel.format import BOUND, NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts

SCALE_PERCENT: Final = 120
"""What a bar's whole width stands for; beyond it is a cap."""

LABELS_APART_PERCENT: Final = 12
CAP: Final = "»"
_FORECAST_WIDTH: Final = "3"
_NAMES: Final = {LimitMetric.MESSAGES: "mensagens", LimitMetric.TOKENS: "tokens", LimitMetric.COST: "custo"}
_LEVELS: Final = {LimitState.WARNING: AlertLevel.WARNING, LimitState.CRITICAL: AlertLevel.CRITICAL}


@dataclass(frozen=True, slots=True)
class Mark:
    """A threshold on the bars: where, and what stands above it (nothing where another stands too near)."""

    x: str
    label: str


@dataclass(frozen=True, slots=True)
class PlanShape:
    """What of the bars does not move: the plan's name, its month, thresholds, and the limits in it.

    forecast: a mark of the expected end may stand on a bar.
    """

    name: str
    cycle: str
    hard: bool
    marks: tuple[Mark, ...]
    bars: tuple[dict[str, str], ...]
    forecast: bool
    unlimited: str


def shape(month: PlanMonth, show: Format, texts: Texts) -> PlanShape | None:
    """Return what the template loops over; None without a plan."""
    plan = month.plan
    if plan is None:
        return None
    limited = {of.metric for of in plan.limits}
    start, end = month.period.start.date(), month.period.end.date()
    return PlanShape(
        name=plan.name,
        cycle=show.day_range(start, end),
        hard=plan.hard,
        marks=marks(plan.thresholds),
        bars=tuple(
            {"id": f"plano-{_NAMES[of.metric]}", "name": metric_name(of.metric, texts)} for of in plan.limits
        ),
        forecast=any(of.forecast.percent_at_end is not None for of in plan.limits),
        unlimited=", ".join(metric_name(metric, texts) for metric in LimitMetric if metric not in limited),
    )


def marks(thresholds: Sequence[int]) -> tuple[Mark, ...]:
    """Return the plan's own thresholds on the scale; 100 keeps its label, others near it go without."""
    shown = [of for of in thresholds if of <= SCALE_PERCENT]
    labelled: list[int] = []
    for of in sorted(shown, key=lambda one: (one != CRITICAL_PERCENT, -one)):
        if all(abs(of - other) >= LABELS_APART_PERCENT for other in labelled):
            labelled.append(of)
    return tuple(Mark(_place(Decimal(of)), f"{of}%" if of in labelled else "") for of in shown)


def _place(percent: Decimal) -> str:
    """Return where a percentage of the limit lies on the scale: 80 at 66.67%, 100 at 83.33%."""
    capped = min(max(percent, Decimal(0)), Decimal(SCALE_PERCENT))
    return f"{money.round_display(capped * 100 / SCALE_PERCENT)}%"


def bars(month: PlanMonth, show: Format, texts: Texts) -> View:
    """Return the strings, widths and states of all limits."""
    view, plan = View(), month.plan
    for of in plan.limits if plan else ():
        key = f"plano-{_NAMES[of.metric]}"
        used = Decimal(of.percent)
        unknown = of.lower_bound and Decimal(of.used) == 0
        view.texts[f"{key}-parte"] = UNKNOWN if unknown else _bounded(of, _share(used, show))
        view.texts[f"{key}-estado"] = level_name(_LEVELS[of.state], texts) if of.state in _LEVELS else ""
        view.texts[f"{key}-usado"] = _used_of(of, plan, show, texts)
        view.texts[f"{key}-previsao"] = forecast_sentence(of, month.alerts, show, texts)
        view.texts[f"{key}-teto"] = CAP if used > SCALE_PERCENT else ""
        view.marks[f"{key}-estado"] = {"data-kind": of.state.value}
        view.marks[f"{key}-barra"] = {"width": _place(used), "data-kind": of.state.value}
        view.marks[f"{key}-fim"] = _forecast_mark(of, used)
    return view


def _share(percent: Decimal, show: Format) -> str:
    """Return the share with one decimal, cut: 99,99 % is not yet 100."""
    return show.percent(money.cut(percent, 1) if percent >= 1 else percent)


def _bounded(of: LimitUsage, text: str) -> str:
    return f"{BOUND}{NBSP}{text}" if of.lower_bound else text


def _used_of(of: LimitUsage, plan: PlanUsage | None, show: Format, texts: Texts) -> str:
    currency = plan.currency if plan else ""
    if of.metric == LimitMetric.COST:
        used = show.cost(Decimal(of.used), currency, lower_bound=of.lower_bound)
        limit = show.money(Decimal(of.limit), currency)
    else:
        used, limit = show.count(int(of.used)), show.count(int(of.limit))
    return texts.gettext("%(usado)s de %(limite)s") % {"usado": used, "limite": limit}


def _forecast_mark(of: LimitUsage, used: Decimal) -> dict[str, str]:
    """Return where the month is expected to end; no mark where that is unknown, not ahead, or off the scale."""
    at_end = Decimal(of.forecast.percent_at_end or 0)
    if not used < at_end < SCALE_PERCENT:
        return {"x": "0", "width": "0"}
    return {"x": _place(at_end), "width": _FORECAST_WIDTH}


def forecast_sentence(of: LimitUsage, alerts: Sequence[AlertFigures], show: Format, texts: Texts) -> str:
    """Return when 100 % comes, came, or why that cannot be told."""
    _, said = texts.gettext, of.forecast
    if said.outcome == ForecastOutcome.REACHED:
        return _reached_sentence(of, alerts, show, texts)
    if said.outcome == ForecastOutcome.EXPECTED and said.likely is not None:
        sentence = _("No ritmo atual, chega a 100%% em %(data)s") % {"data": show.day(said.likely)}
        between = _between(said.earliest, said.likely, said.latest, show, texts)
        return f"{sentence} ({between})" if between else sentence
    if said.outcome == ForecastOutcome.NOT_EXPECTED:
        sentence, notes = _("Não deve chegar ao limite neste ciclo"), []
        if said.percent_at_end is not None:
            notes.append(_("previsão %(parte)s") % {"parte": _share(Decimal(said.percent_at_end), show)})
        if said.earliest is not None:
            notes.append(_("no mais cedo, %(data)s") % {"data": show.day(said.earliest)})
        return f"{sentence} ({'; '.join(notes)})" if notes else sentence
    return _("Sem previsão: menos de 3 dias de dados")


def _between(earliest: date | None, likely: date, latest: date | None, show: Format, texts: Texts) -> str:
    """Return 22–25/11; what may come only after the month is said so."""
    _, first = texts.gettext, earliest or likely
    if latest is None:
        return _("entre %(data)s e depois do ciclo") % {"data": show.day(first)}
    return show.day_range(first, latest + timedelta(days=1)) if first < latest else ""


def _reached_sentence(of: LimitUsage, alerts: Sequence[AlertFigures], show: Format, texts: Texts) -> str:
    """Return when 100 % was passed, where an alert of this limit tells."""
    _ = texts.gettext
    fired = [
        alert.fired_at for alert in alerts
        if alert.kind == AlertKind.LIMIT and alert.metric == of.metric and alert.threshold == CRITICAL_PERCENT
        and alert.resolved_at is None and Decimal(alert.limit or 0) == Decimal(of.limit)
    ]  # fmt: skip
    if not fired:
        return _("Passou de 100% do limite")
    day, clock = when(max(fired), show).rsplit(" ", 1)
    return _("Passou de 100%% em %(data)s às %(hora)s") % {"data": day, "hora": clock}

