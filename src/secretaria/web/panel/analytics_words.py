"""How "Analytics e Consumo" names things: categories, directions, uses without a value, buckets, changes."""

from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Final

from secretaria.core.period import Period
from secretaria.services.meta_beside import MetaBeside
from secretaria.services.period_figures import Bucket, Dimension, Share
from secretaria.services.period_view import Previous, Step
from secretaria.web.panel.format import NBSP, UNKNOWN, Format, Number
from secretaria.web.panel.i18n import Texts

EVENTS_COMPARED_MIN: Final = 20
TIME_DIFFERENCE_MIN_MS: Final = 50
# Fixed colours, by meaning (panel.md 5): everything else is the sixth.
SERIES: Final[Mapping[str | None, int]] = {
    "MARKETING": 1, "UTILITY": 2, "AUTHENTICATION": 3, "SERVICE": 4, None: 5,
}  # fmt: skip
OTHER_SERIES: Final = 6


def share_name(dimension: Dimension, share: Share, texts: Texts) -> str:
    """Return what one row of a breakdown is called."""
    return share.label if share.label is not None else value_name(dimension, share.key, texts)


def value_name(dimension: Dimension, key: str | None, texts: Texts) -> str:
    """Return what a value is called where no name is known for it."""
    _ = texts.gettext
    if key is None:
        return {
            Dimension.CATEGORY: _("Sem categoria (LLM e outros)"),
            Dimension.ACCOUNT: _("Sem conta"),
            Dimension.MODEL: _("Sem modelo"),
            Dimension.COST_CENTER: _("Sem centro de custo"),
        }.get(dimension, _("Sem valor"))
    if dimension == Dimension.CATEGORY:
        return {
            "MARKETING": _("Marketing"),
            "UTILITY": _("Utilidade"),
            "AUTHENTICATION": _("Autenticação"),
            "SERVICE": _("Serviço"),
            "OTHER": _("Outra categoria"),
        }.get(key, key)
    if dimension == Dimension.DIRECTION:
        return {"inbound": _("Recebidas"), "outbound": _("Enviadas")}.get(key, key)
    if dimension == Dimension.ACCOUNT:
        return _("Conta %(numero)s") % {"numero": key}
    return key


def dimension_name(dimension: Dimension, texts: Texts) -> str:
    """Return what a breakdown is called."""
    _ = texts.gettext
    return {
        Dimension.CATEGORY: _("Categoria"),
        Dimension.ACCOUNT: _("Conta"),
        Dimension.MODEL: _("Modelo"),
        Dimension.DIRECTION: _("Direção"),
        Dimension.COST_CENTER: _("Centro de custo"),
    }.get(dimension, str(dimension))


def bucket_label(bucket: Bucket, step: Step, show: Format) -> str:
    """Return 14h, 20/11 or 09–15/11: what stands on the axis."""
    if step == Step.HOUR:
        return f"{bucket.start:%H}h"
    if step == Step.WEEK:
        return show.day_range(bucket.day, bucket.end.date())
    return show.day(bucket.day)


def bucket_name(bucket: Bucket, step: Step, show: Format) -> str:
    """Return the bucket in full: the weekday and date, with the hour where there is one."""
    if step == Step.HOUR:
        return f"{show.day_named(bucket.day)} {bucket.start:%H:%M}"
    if step == Step.WEEK:
        return show.day_range(bucket.day, bucket.end.date())
    return show.day_named(bucket.day)


def range_name(period: Period, show: Format) -> str:
    """Return the days of a period, with the year where they are a single day's: 01–20/11."""
    return show.day_range(period.start, period.end)


def previous_name(previous: Previous, show: Format, texts: Texts) -> str:
    """Return what is held against ours: 01–20/10, ambos até 14:00."""
    days = range_name(previous.period, show)
    if not previous.is_cut:
        return days
    return texts.gettext("%(dias)s, ambos até %(hora)s") % {"dias": days, "hora": f"{previous.until:%H:%M}"}


def change(ours: Number, theirs: Number, show: Format, texts: Texts, *, base: int, cost: bool = False) -> str:
    """Return ▲ 22,6% · pior: more is worse only for a cost. `base` is how many events the earlier value rests on."""
    if not ours and not theirs:
        return ""
    if theirs <= 0 or base < EVENTS_COMPARED_MIN:
        return texts.gettext("novo")
    percent = (Fraction(ours) - Fraction(theirs)) / Fraction(theirs) * 100
    if abs(percent) < Fraction(1, 20):
        return texts.gettext("sem variação")
    text = f"{_arrow(percent)}{NBSP}{show.percent(abs(percent))}"
    return f"{text} · {_judged(percent, texts)}" if cost else text


def time_change(ours: Number | None, theirs: Number | None, show: Format, texts: Texts, *, base: int) -> str:
    """Return ▼ 18 s · melhor: a time differs by time, and less is better."""
    if ours is None or theirs is None:
        return ""
    if base < EVENTS_COMPARED_MIN:
        return texts.gettext("novo")
    difference = Fraction(ours) - Fraction(theirs)
    if abs(difference) < TIME_DIFFERENCE_MIN_MS:
        return texts.gettext("sem variação")
    return f"{_arrow(difference)}{NBSP}{show.duration(abs(difference))} · {_judged(difference, texts)}"


def _arrow(difference: Fraction) -> str:
    return "▲" if difference > 0 else "▼"


def _judged(difference: Fraction, texts: Texts) -> str:
    return texts.gettext("pior") if difference > 0 else texts.gettext("melhor")


def judgement(text: str, texts: Texts) -> str:
    """Return how a change is painted: better, worse, or neither."""
    if text.endswith(texts.gettext("pior")):
        return "worse"
    return "better" if text.endswith(texts.gettext("melhor")) else ""


def meta_words(found: MetaBeside, show: Format, texts: Texts) -> dict[str, str]:
    """Return Meta's figure beside our estimate of the same days, and which days those are."""
    _, currency = texts.gettext, found.currency
    dates = show.day_range(found.first, found.last + timedelta(days=1))
    whole = found.days == (found.last - found.first).days + 1
    days = _("%(dias)s, %(quantidade)s dias informados") % {"dias": dates, "quantidade": found.days}
    difference = found.difference
    return {
        "days": dates if whole else days,
        "estimated": show.cost(found.estimated, currency, lower_bound=found.lower_bound),
        "reported": UNKNOWN if found.meta is None else show.money(found.meta, currency),
        "difference": UNKNOWN if difference is None else show.money(difference, currency),
        "note": _("A Meta não informa custo destas mensagens.")
        if found.meta is None
        else _("Mensagens de WhatsApp enviadas, nos dias já encerrados que a Meta informou."),
    }
