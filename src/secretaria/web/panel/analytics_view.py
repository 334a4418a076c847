"""What "Analytics e Consumo" shows, as ready strings by element id: the page and its live updates print the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from typing import Final

from secretaria.core import money
from secretaria.core.rating import NotPriced
from secretaria.services.period_figures import Dimension, Share
from secretaria.services.period_view import PeriodView
from secretaria.services.rated_cells import Figures
from secretaria.web.panel.analytics_chart import Trend, part_text, payload, trend
from secretaria.web.panel.analytics_query import PageQuery
from secretaria.web.panel.analytics_words import (
    OTHER_SERIES,
    SERIES,
    change,
    judgement,
    previous_name,
    range_name,
    share_name,
    time_change,
)
from secretaria.web.panel.figures import CARDS, View, mark_begun, not_priced_chip
from secretaria.web.panel.format import NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts

ROWS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the breakdown: id of its elements, its value in the address, its name and its colour."""

    id: str
    key: str | None
    name: str
    series: int
    is_rest: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A view in words: strings and marks by id, and what the template loops over."""

    view: View
    rows: tuple[Row, ...]
    trend: Trend


def shown(view: PeriodView, query: PageQuery, show: Format, texts: Texts, *, every_row: bool = False) -> Shown:
    """Return all strings of the page that figures decide."""
    found = View()
    _cards(found, view, show, texts)
    mark_begun(found, (f"k-{name}" for name in CARDS), begun=view.last_day is not None)
    found.marks["sem-uso"] = {"data-kind": "empty" if view.total.is_empty else "used"}
    of = trend(view, query.metric, show, texts)
    _trend(found, of)
    rows = _breakdown(found, view, show, texts, rows_max=len(view.shares) if every_row else ROWS_SHOWN)
    return Shown(found, rows, of)


def _cards(found: View, view: PeriodView, show: Format, texts: Texts) -> None:
    total = view.total
    counts = {
        "recebidas": total.messages_inbound,
        "enviadas": total.messages_outbound,
        "tokens-entrada": total.tokens_input,
        "tokens-saida": total.tokens_output,
    }
    for name, value in counts.items():
        found.texts[f"k-{name}"] = show.count(value)
        found.marks[f"k-{name}"] = {"title": show.number(value)}
    found.texts["k-custo"] = show.cost(total.cost, view.currency, lower_bound=total.lower_bound)
    exact = UNKNOWN if total.cost is None else money.exact_text(total.cost)
    found.marks["k-custo"] = {"title": texts.gettext("Valor exato: %(valor)s") % {"valor": exact}}
    found.texts["k-resposta"] = show.duration(_mean(total))
    found.texts["k-sem-preco"] = not_priced_chip(
        NotPriced(total.not_priced_messages, total.not_priced_tokens), show, texts
    )
    _changes(found, view, show, texts)
    found.texts["periodo-dias"] = range_name(view.begun, show)
    found.texts["sem-preco-frase"] = _missing_sentence(total, show, texts)


def _mean(of: Figures) -> Fraction | None:
    return Fraction(of.response_ms, of.response_count) if of.response_count > 0 else None


def _missing_sentence(of: Figures, show: Format, texts: Texts) -> str:
    parts = []
    if of.not_priced_messages:
        sentence = texts.ngettext("%(quantidade)s mensagem", "%(quantidade)s mensagens", of.not_priced_messages)
        parts.append(sentence % {"quantidade": show.number(of.not_priced_messages)})
    if of.not_priced_tokens:
        sentence = texts.ngettext("%(quantidade)s token", "%(quantidade)s tokens", of.not_priced_tokens)
        parts.append(sentence % {"quantidade": show.number(of.not_priced_tokens)})
    if not parts:
        return ""
    joined = texts.gettext(" e ").join(parts)
    return texts.gettext("Sem preço neste período: %(quantidades)s. O total é parcial.") % {"quantidades": joined}


def _changes(found: View, view: PeriodView, show: Format, texts: Texts) -> None:
    """Say how each card moved. Without a complete base nothing is said: an unknown is no change of 0 %."""
    for name in CARDS:
        found.texts[f"k-{name}-delta"] = found.texts[f"k-{name}-antes"] = ""
        found.marks[f"k-{name}-delta"] = {"data-kind": ""}
    previous = view.previous
    found.texts["comparado"] = "" if previous is None else previous_name(previous, show, texts)
    if previous is None or not (previous.is_whole or previous.total.is_empty):
        return
    ours, theirs = previous.ours, previous.total
    found.texts["k-resposta-delta"] = time_change(
        _mean(ours), _mean(theirs), show, texts, base=theirs.response_count
    )
    compared = {"resposta": (show.duration(_mean(ours)), show.duration(_mean(theirs)))}
    pairs = {
        "recebidas": (ours.messages_inbound, theirs.messages_inbound),
        "enviadas": (ours.messages_outbound, theirs.messages_outbound),
        "tokens-entrada": (ours.tokens_input, theirs.tokens_input),
        "tokens-saida": (ours.tokens_output, theirs.tokens_output),
    }
    for name, (now, before) in pairs.items():
        found.texts[f"k-{name}-delta"] = change(now, before, show, texts, base=theirs.messages or before)
        compared[name] = (show.count(now), show.count(before))
    if not theirs.lower_bound and ours.cost is not None and theirs.cost is not None:
        text = change(ours.cost, theirs.cost, show, texts, base=theirs.messages or theirs.tokens, cost=True)
        is_certain = not ours.lower_bound or ours.cost > theirs.cost  # what is missing could fill a fall, not a rise
        found.texts["k-custo-delta"] = text if is_certain else ""
        compared["custo"] = (
            show.cost(ours.cost, view.currency, lower_bound=ours.lower_bound), show.cost(theirs.cost, view.currency)
        )  # fmt: skip
    for name, values in compared.items():
        _compare(found, name, values, is_cut=previous.is_cut, texts=texts)


def _compare(found: View, name: str, values: tuple[str, str], *, is_cut: bool, texts: Texts) -> None:
    """Say what a change is of: while ours goes on, both values are those of the hour both had reached."""
    text = found.texts[f"k-{name}-delta"]
    found.marks[f"k-{name}-delta"] = {"data-kind": judgement(text, texts)}
    if not text or text == texts.gettext("novo"):
        return
    ours, theirs = values
    if is_cut:
        held = texts.gettext("ante %(antes)s") % {"antes": theirs}
        sentence = f"{ours} {held.replace(' ', NBSP)}"
    else:
        sentence = texts.gettext("antes %(valor)s") % {"valor": theirs}
    found.texts[f"k-{name}-antes"] = sentence


def _trend(found: View, of: Trend) -> None:
    found.texts["grafico-dados"] = payload(of)
    found.texts["grafico-frase"] = of.sentence
    for number, point in enumerate(of.points):
        found.texts[f"b{number}-valor"] = point.text
        found.texts[f"b{number}-antes"] = point.earlier_text
        found.texts[f"b{number}-variacao"] = point.change
        found.texts[f"b{number}-estado"] = point.state


def _breakdown(found: View, view: PeriodView, show: Format, texts: Texts, *, rows_max: int) -> tuple[Row, ...]:
    dimension = view.wanted.dimension
    shares = list(view.shares)
    rows = [_row(share, dimension, texts) for share in shares[:rows_max]]
    figures = [share.figures for share in shares[:rows_max]]
    rest = shares[rows_max:]
    if len(rest) == 1:  # "others (1)" is longer than the one
        rows.append(_row(rest[0], dimension, texts))
        figures.append(rest[0].figures)
    elif rest:
        name = texts.gettext("Outros (%(quantidade)s)") % {"quantidade": show.number(len(rest))}
        rows.append(Row("s-outros", None, name, OTHER_SERIES if dimension == Dimension.CATEGORY else 0, is_rest=True))
        figures.append(_together([share.figures for share in rest]))
    parts = money.largest_remainder([of.cost or Decimal(0) for of in figures])
    total = view.total.cost or Decimal(0)
    for row, of, part in zip(rows, figures, parts, strict=True):
        found.texts[f"{row.id}-mensagens"] = show.number(of.messages)
        found.texts[f"{row.id}-tokens"] = show.count(of.tokens)
        found.marks[f"{row.id}-tokens"] = {"title": show.number(of.tokens)}
        found.texts[f"{row.id}-custo"] = part_text(of, part, view.currency, show)
        share = Fraction(of.cost) / Fraction(total) * 100 if total > 0 and of.cost is not None else None
        found.texts[f"{row.id}-parte"] = UNKNOWN if share is None else show.percent(share)
        width = Decimal(0) if share is None else min(max(Decimal(int(share * 100)) / 100, Decimal(0)), Decimal(100))
        found.marks[f"{row.id}-barra"] = {"width": f"{width:f}%"}
    found.texts["quebra-total"] = show.cost(
        view.total.cost, view.currency, lower_bound=view.total.lower_bound, full=True
    )
    found.texts["quebra-total-mensagens"] = show.number(view.total.messages)
    found.texts["quebra-total-tokens"] = show.count(view.total.tokens)
    found.texts["quebra-ordem"] = " ".join(row.id for row in rows)
    return tuple(rows)


def _row(share: Share, dimension: Dimension, texts: Texts) -> Row:
    digest = blake2b(repr(share.key).encode(), digest_size=4).hexdigest()
    series = SERIES.get(share.key, OTHER_SERIES) if dimension == Dimension.CATEGORY else 0
    return Row(f"s-{digest}", share.key, share_name(dimension, share, texts), series)


def _together(of: Sequence[Figures]) -> Figures:
    known = [one.cost for one in of if one.cost is not None]
    return Figures(
        sum(one.messages_inbound for one in of),
        sum(one.messages_outbound for one in of),
        sum(one.tokens_input for one in of),
        sum(one.tokens_output for one in of),
        sum(one.response_ms for one in of),
        sum(one.response_count for one in of),
        money.total(known) if known else None,
        sum(one.not_priced_messages for one in of),
        sum(one.not_priced_tokens for one in of),
    )
