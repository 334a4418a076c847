"""The list of companies as ready strings by element id: the page and its live updates print the same ones."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from secretaria.core import money
from secretaria.core.crossing import AlertLevel
from secretaria.core.limit import LimitState
from secretaria.core.rating import NotPriced
from secretaria.services.overview import PAGE_COMPANIES
from secretaria.store.standings import Compared, Counts, ListRow, Standing
from secretaria.web.panel.alert_words import level_name, metric_name
from secretaria.web.panel.analytics_words import change, judgement
from secretaria.web.panel.figures import View, not_priced_chip
from secretaria.web.panel.format import BOUND, NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts
from secretaria.web.panel.plan_view import SCALE_PERCENT

SPARK_WIDTH, SPARK_HEIGHT = 98, 24
"""A day is a seventh of what a week is: 14 columns of 5 with gaps of 2."""

_STEP, _COLUMN = 7, 5
_LEVELS: Final = {LimitState.WARNING: AlertLevel.WARNING, LimitState.CRITICAL: AlertLevel.CRITICAL}
_ONE_DAY: Final = timedelta(days=1)
NEVER: Final = "◌"


def rows_view(rows: Sequence[ListRow], show: Format, texts: Texts) -> View:
    """Return the strings and marks of these rows."""
    view = View()
    for row in rows:
        key = f"e{row.company_id}"
        view.texts[f"{key}-alertas"] = show.number(row.open_alerts)
        view.marks[f"{key}-alertas"] = {"data-kind": "open" if row.open_alerts else "none"}
        _row(view, key, row.standing, show, texts)
    return view


def _row(view: View, key: str, of: Standing | None, show: Format, texts: Texts) -> None:
    for name in ("plano", "uso", "estado", "enviadas", "custo", "sem-preco", "variacao", "dias", "ultimo"):
        view.texts[f"{key}-{name}"] = "" if name in {"estado", "sem-preco", "dias"} else UNKNOWN
    view.marks.update({
        f"{key}-barra": {"width": "0", "data-kind": "none"},
        f"{key}-estado": {"data-kind": ""},
        f"{key}-uso": {"title": ""},
        f"{key}-variacao": {"title": "", "data-kind": ""},
        f"{key}-colunas": {"d": ""},
        f"{key}-hoje": {"d": ""},
    })
    if of is None:
        return
    _use_of_plan(view, key, of, show, texts)
    if not (of.is_idle and of.is_empty):
        view.texts[f"{key}-enviadas"] = show.number(of.messages_outbound)
        view.texts[f"{key}-custo"] = show.cost(of.cost, of.currency, lower_bound=of.lower_bound)
    missing = NotPriced(of.not_priced_messages, of.not_priced_tokens)
    view.texts[f"{key}-sem-preco"] = not_priced_chip(missing, show, texts)
    view.texts[f"{key}-ultimo"] = last_use(of, texts)
    if of.compared is not None:
        text, said = _change(of.compared, of.currency, show, texts)
        view.texts[f"{key}-variacao"] = text or UNKNOWN
        view.marks[f"{key}-variacao"] = {"title": said, "data-kind": judgement(text, texts)}
    _columns(view, key, of, show, texts)


def _use_of_plan(view: View, key: str, of: Standing, show: Format, texts: Texts) -> None:
    if of.plan_name is not None:
        view.texts[f"{key}-plano"] = of.plan_name
    if of.percent is None or of.metric is None:
        return
    share = show.percent(money.cut(of.percent, 1) if of.percent >= 1 else of.percent)
    is_bound = of.lower_bound and of.metric == "cost"
    view.texts[f"{key}-uso"] = f"{BOUND}{NBSP}{share}" if is_bound else share
    view.texts[f"{key}-estado"] = level_name(_LEVELS[of.state], texts) if of.state in _LEVELS else ""
    width = money.round_display(min(of.percent, Decimal(SCALE_PERCENT)) * 100 / SCALE_PERCENT)
    view.marks[f"{key}-barra"] = {"width": f"{width}%", "data-kind": of.state.value}
    view.marks[f"{key}-estado"] = {"data-kind": of.state.value}
    view.marks[f"{key}-uso"] = {"title": metric_name(of.metric, texts)}


def last_use(of: Standing, texts: Texts) -> str:
    """Return hoje, 14h; what no data comes from says since when."""
    _ = texts.gettext
    if of.last_use is None:
        return f"{NEVER}{NBSP}{_('nunca')}"
    day = of.last_use.date()
    if of.is_idle:
        days = (of.day - day).days
        return f"{NEVER}{NBSP}" + texts.ngettext("há %(dias)s dia", "há %(dias)s dias", days) % {"dias": days}
    if day >= of.day:
        return _("hoje, %(hora)sh") % {"hora": f"{of.last_use:%H}"}
    if day == of.day - _ONE_DAY:
        return _("ontem, %(hora)sh") % {"hora": f"{of.last_use:%H}"}
    return texts.ngettext("há %(dias)s dia", "há %(dias)s dias", (of.day - day).days) % {"dias": (of.day - day).days}


def _change(of: Compared, currency: str, show: Format, texts: Texts) -> tuple[str, str]:
    """Return how the cost of the complete days moved, and of which days; nothing where a base is not complete."""
    if of.lower_bound_before or of.cost is None or of.cost_before is None or not (of.is_whole or not of.base):
        return "", ""
    if of.lower_bound and of.cost <= of.cost_before:
        return "", ""  # what has no price could fill the fall
    text = change(of.cost, of.cost_before, show, texts, base=of.base, cost=True)
    said = texts.gettext("%(dias)s: %(custo)s; %(antes)s: %(custo_antes)s") % {
        "dias": show.day_range(of.start, of.end),
        "custo": show.cost(of.cost, currency, lower_bound=of.lower_bound),
        "antes": show.day_range(of.before_start, of.before_end),
        "custo_antes": show.cost(of.cost_before, currency),
    }
    return text, said if text else ""


def _columns(view: View, key: str, of: Standing, show: Format, texts: Texts) -> None:
    """Draw the last days as columns from zero, by cost, or by messages where nothing was priced; today apart."""
    by_cost = any(of.daily_costs)
    values = [Fraction(value) for value in (of.daily_costs if by_cost else of.daily_messages)]
    largest = max(values)
    if largest <= 0:
        return
    paths = [_column(place, value / largest) for place, value in enumerate(values)]
    view.marks[f"{key}-colunas"] = {"d": "".join(paths[:-1])}
    view.marks[f"{key}-hoje"] = {"d": paths[-1]}
    place = values.index(largest)
    day = show.day(of.day - (len(values) - 1 - place) * _ONE_DAY)
    amount = show.money(of.daily_costs[place], of.currency) if by_cost else show.number(of.daily_messages[place])
    sentence = (
        texts.gettext("Custo por dia; maior: %(dia)s, %(valor)s")
        if by_cost
        else texts.gettext("Mensagens por dia; maior: %(dia)s, %(valor)s")
    )
    view.texts[f"{key}-dias"] = sentence % {"dia": day, "valor": amount}


def _column(place: int, share: Fraction) -> str:
    """Return a column's outline: what is not nothing is at least a pixel high."""
    if share <= 0:
        return ""
    height = max(round(share * SPARK_HEIGHT), 1)
    return f"M{place * _STEP} {SPARK_HEIGHT}v-{height}h{_COLUMN}v{height}z"


def counts_view(counts: Counts, now: datetime, show: Format, texts: Texts) -> View:
    """Return the counts behind the filters, and what they and the order are as of."""
    view = View()
    total = texts.ngettext("%(quantidade)s empresa", "%(quantidade)s empresas", counts.total or 2)  # 0 empresas
    view.texts["n-total"] = total % {"quantidade": show.number(counts.total)}
    for name, count in counts.situations.items():
        view.texts[f"n-{name}"] = show.number(count)
    view.texts["ordem-de"] = _order_as_of(counts, now, show, texts)
    return view


def _order_as_of(counts: Counts, now: datetime, show: Format, texts: Texts) -> str:
    if not counts.behind:
        return ""
    if counts.behind_since is None:
        sentence = texts.gettext("Calculando %(quantidade)s empresas; até lá elas ficam entre as sem dados.")
        return sentence % {"quantidade": show.number(counts.behind)}
    return texts.gettext("Ordem e contagens de %(hora)s; as linhas são de %(agora)s.") % {
        "hora": show.clock(counts.behind_since),
        "agora": show.clock(now),
    }


def range_text(first: int, shown: int, total: int, show: Format, texts: Texts) -> str:
    """Return 1–50 de 2.314."""
    return texts.gettext("%(primeira)s–%(ultima)s de %(total)s") % {
        "primeira": show.number(first),
        "ultima": show.number(first + shown - 1),
        "total": show.number(max(total, first + shown - 1)),
    }


def moved(shown: Sequence[int], order: Sequence[int], texts: Texts) -> str:
    """Return that the order moved, where these ids no longer stand as they are shown."""
    return "" if list(shown) == list(order)[:PAGE_COMPANIES] else texts.gettext("A ordem mudou.")
