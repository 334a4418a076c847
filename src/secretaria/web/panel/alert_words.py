"""Alerts in words: rows of lists, toasts and banners say the same of one alert."""

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from secretaria.core import money
from secretaria.core.crossing import AlertKind, AlertLevel
from secretaria.core.delivery import DeliveryStatus
from secretaria.core.limit import percent
from secretaria.core.plan import LimitMetric
from secretaria.reports.format import NBSP
from secretaria.services.alert_pages import AlertPage, Standing
from secretaria.store.alerts import Alert
from secretaria.store.companies import Company
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts, texts

LEVEL_KINDS: Final = {AlertLevel.WARNING: "warn", AlertLevel.CRITICAL: "crit"}


def metric_name(metric: LimitMetric, texts: Texts) -> str:
    """Return what a limit is held against."""
    _ = texts.gettext
    return {
        LimitMetric.MESSAGES: _("Mensagens"),
        LimitMetric.TOKENS: _("Tokens"),
        LimitMetric.COST: _("Custo"),
    }[metric]


def level_name(level: AlertLevel, texts: Texts) -> str:
    """Return ▲ Aviso or ✕ Crítico: icon and word, so that neither needs its colour."""
    return "✕ " + texts.gettext("Crítico") if level == AlertLevel.CRITICAL else "▲ " + texts.gettext("Aviso")


def when(instant: datetime, show: Format) -> str:
    """Return 19/11 17:28 on the company's clock."""
    return f"{show.day(show.local(instant).date())} {show.clock(instant)}"


def sentence(alert: Alert, show: Format, texts: Texts) -> str:
    """Return Mensagens: 80% do limite (16.000): the line that was crossed, and at how much."""
    _ = texts.gettext
    metric = metric_name(alert.metric, texts)
    if alert.kind != AlertKind.LIMIT or alert.limit is None:
        return _("%(medida)s: há uso sem preço") % {"medida": metric}
    return _("%(medida)s: %(parte)s%% do limite (%(valor)s)") % {
        "medida": metric, "parte": alert.threshold, "valor": _line(alert, alert.limit, show),
    }  # fmt: skip


def _line(alert: Alert, limit: Decimal, show: Format) -> str:
    """Return the amount at which the line is: of a limit of 84 messages, 80% is reached at 68."""
    line = money.divided(money.product(limit, alert.threshold), 100)
    if alert.metric == LimitMetric.COST:
        return show.money(line, alert.currency or "BRL")
    return show.number(line.to_integral_value(rounding=ROUND_CEILING))


def alert_row(alert: Alert, show: Format, texts: Texts) -> dict[str, str]:
    """Return an alert in words: its level, when, what was crossed, and whether it is over."""
    return {
        "kind": LEVEL_KINDS[alert.level],
        "level": level_name(alert.level, texts),
        "at": when(alert.fired_at, show),
        "sentence": sentence(alert, show, texts),
        "resolved": "✓ " + texts.gettext("Resolvido") if alert.resolved_at else "",
    }


def list_rows(page: AlertPage, locale: str) -> list[dict[str, Any]]:
    """Return the rows of a list; each company has its own clock."""
    sentences = texts(locale)
    return [_list_row(alert, page, Format(locale, page.companies[alert.company_id].timezone), sentences)
            for alert in page.alerts if alert.company_id in page.companies]  # fmt: skip


def _list_row(alert: Alert, page: AlertPage, show: Format, texts: Texts) -> dict[str, Any]:
    company = page.companies[alert.company_id]
    delivered = page.delivered.get((alert.company_id, alert.alert_id), {})
    text, kind = delivery_text(delivered, texts)
    return {
        **alert_row(alert, show, texts),
        "id": alert.alert_id,
        "company_id": company.company_id,
        "company": company.name,
        "exact_at": show.moment(alert.fired_at),
        "month": month_of_alert(alert, show),
        "history": _history(alert, page, show, texts),
        "delivery": text,
        "delivery_kind": kind,
        "may_acknowledge": alert.resolved_at is None and alert.acknowledged_at is None,
    }


def month_of_alert(alert: Alert, show: Format) -> str:
    """Return the month whose limit it was, where the alert itself does not say: it came in another month."""
    fired = show.local(alert.fired_at).date()
    same = (fired.year, fired.month) == (alert.period_start.year, alert.period_start.month)
    return "" if same else show.month(alert.period_start)


def _history(alert: Alert, page: AlertPage, show: Format, texts: Texts) -> list[str]:
    """Return what became of it: who took care of it and when, and with how much it was over."""
    _ = texts.gettext
    lines = []
    if alert.acknowledged_at is not None:
        name = who(alert.acknowledged_by or "", page.people, texts)
        lines.append(
            _("Reconhecido por %(nome)s em %(quando)s")
            % {"nome": name, "quando": when(alert.acknowledged_at, show)}
        )
    if alert.resolved_at is not None:
        said = {"valor": _share_left(alert, show), "quando": when(alert.resolved_at, show)}
        told = _("De volta a %(valor)s em %(quando)s") if said["valor"] else _("Resolvido em %(quando)s")
        lines.append(told % said)
    return lines


def _share_left(alert: Alert, show: Format) -> str:
    """Return the share of the limit at which it was resolved, cut, never rounded up to the line."""
    if not alert.limit or alert.resolved_used is None:
        return ""
    return show.percent(money.cut(percent(alert.resolved_used, alert.limit), 1))


def who(identity: str, people: Mapping[str, str], texts: Texts) -> str:
    """Return a person's e-mail as far as the reader may know it, else what kind of caller it was."""
    _ = texts.gettext
    kind, _sep, name = identity.partition(":")
    if identity in people:
        return people[identity]
    if kind == "user":
        return _("Equipe da operadora")
    return _("Chave %(chave)s") % {"chave": name} if kind == "key" else _("Sistema")


def delivery_text(counts: Mapping[DeliveryStatus, int], texts: Texts) -> tuple[str, str]:
    """Return what became of an alert's deliveries, and the kind of its badge: the worst comes first."""
    parts = []
    failed, waiting = counts.get(DeliveryStatus.DEAD, 0), counts.get(DeliveryStatus.WAITING, 0)
    delivered = counts.get(DeliveryStatus.DELIVERED, 0)
    if failed:
        parts.append(texts.ngettext("✕ %(num)s falhou", "✕ %(num)s falharam", failed) % {"num": failed})
    if waiting:
        parts.append(texts.ngettext("◷ %(num)s na fila", "◷ %(num)s na fila", waiting) % {"num": waiting})
    if delivered:
        parts.append(texts.ngettext("✓ %(num)s entregue", "✓ %(num)s entregues", delivered) % {"num": delivered})
    kind = "crit" if failed else "warn" if waiting else "ok"
    return " · ".join(part.replace(" ", NBSP, 1) for part in parts), kind if parts else ""


def banner(standing: Standing | None, locale: str) -> dict[str, Any] | None:
    """Return the open company's critical alert that nobody acknowledged yet, for the top of its pages."""
    if standing is None or standing.critical is None or standing.company is None:
        return None
    show, alert = Format(locale, standing.company.timezone), standing.critical
    return {
        **alert_row(alert, show, texts(locale)),
        "id": alert.alert_id,
        "company_id": alert.company_id,
        "month": month_of_alert(alert, show),
        "others": standing.open_of_company - 1,
    }


def toast(alert: Alert, company: Company, locale: str, *, name_company: bool) -> dict[str, Any]:
    """Return what pops up on an open page: ready strings, and where the alert is listed."""
    show, sentences = Format(locale, company.timezone), texts(locale)
    said = sentence(alert, show, sentences)
    return {
        "id": alert.alert_id,
        "level": level_name(alert.level, sentences),
        "critical": alert.level == AlertLevel.CRITICAL,
        "title": company.name if name_company else "",
        "text": said,
        "at": show.clock(alert.fired_at),
        "href": f"/empresas/{company.company_id}/alertas",
    }
