"""What an account's card says, as ready strings by element id. An empty string hides its element or its row."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.meta_cost import CategoryLine, CostSource, source_of
from secretaria.core.price import DEFAULT_CARD, FREE_CARD
from secretaria.services.account_details import CATEGORIES, AccountDetails, CategoryDetail, UsedPrice
from secretaria.web.panel.figures import View
from secretaria.web.panel.format import NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts

ALWAYS_SHOWN: Final = frozenset({"UTILITY", "MARKETING"})
OTHER: Final = "OTHER"
ROWS: Final = (*CATEGORIES, OTHER)
PRICES_NAMED_MAX: Final = 2
QUALITIES: Final[Mapping[str, str]] = {
    "GREEN": "alta", "HIGH": "alta", "YELLOW": "media", "MEDIUM": "media", "RED": "baixa", "LOW": "baixa",
}  # fmt: skip
QUALITY_KINDS: Final[Mapping[str, str]] = {"alta": "ok", "media": "warn", "baixa": "crit", "sem": ""}
SOURCE_KINDS: Final[Mapping[str, str]] = {"estimado": "", "meta": "info", "misto": "info"}


def card(details: AccountDetails, show: Format, texts: Texts) -> View:
    """Return the strings of one card, their ids beginning with c and the account's id."""
    key = f"c{details.account.account_id}"
    view = View()
    view.texts.update(_quality(key, details, texts))
    view.texts.update(_source(key, details, show, texts))
    for name in ROWS:
        view.texts.update(_row(key, name, details, show, texts))
    compared = _comparison(key, details, show)
    view.texts.update(compared)
    view.texts.update(_meta_notes(key, compared, details, texts, show))
    view.texts.update(_total(key, details, show, texts))
    view.texts.update(_notes(key, details, show, texts))
    return view


def _quality(key: str, details: AccountDetails, texts: Texts) -> dict[str, str]:
    words = {
        "alta": f"●{NBSP}" + texts.gettext("Qualidade ALTA"),
        "media": f"▲{NBSP}" + texts.gettext("Qualidade MÉDIA"),
        "baixa": f"✕{NBSP}" + texts.gettext("Qualidade BAIXA"),
        "sem": f"◌{NBSP}" + texts.gettext("Qualidade sem classificação"),
    }
    found = QUALITIES.get((details.account.quality_rating or "").upper(), "sem")
    return {f"{key}-qualidade-{name}": word if name == found else "" for name, word in words.items()}


def _source(key: str, details: AccountDetails, show: Format, texts: Texts) -> dict[str, str]:
    words = {
        CostSource.ESTIMATED: ("estimado", f"≈{NBSP}" + texts.gettext("Estimado")),
        CostSource.META: ("meta", f"✓{NBSP}" + texts.gettext("Informado pela Meta")),
        CostSource.MIXED: ("misto", f"±{NBSP}" + texts.gettext("Parte Meta, parte estimado")),
    }
    found = {f"{key}-origem-{name}": "" for name in SOURCE_KINDS}
    name, word = words[details.cost.cost_source]
    found[f"{key}-origem-{name}"] = word
    stale = details.meta.stale_since
    sentence = texts.gettext("Dados da Meta de %(momento)s")
    found[f"{key}-atraso"] = "" if stale is None else f"◷{NBSP}" + sentence % {"momento": show.moment(stale)}
    return found


def _row(key: str, name: str, details: AccountDetails, show: Format, texts: Texts) -> dict[str, str]:
    of = _other(details) if name == OTHER else details.categories[name]
    row = f"{key}-{name.lower()}"
    is_shown = name in ALWAYS_SHOWN or bool(of.messages or of.shown or of.line.meta)
    if not is_shown:
        return dict.fromkeys((f"{row}-quantidade", f"{row}-preco", f"{row}-custo"), "")
    prices = [price for price in details.prices if price.category == name]
    return {
        f"{row}-quantidade": show.number(of.messages),
        f"{row}-preco": _unit_prices(prices, show, texts) or UNKNOWN,
        f"{row}-custo": show.cost(of.shown, details.currency, lower_bound=_lacking(of) > 0, full=True),
    }


def _other(details: AccountDetails) -> CategoryDetail:
    """Add up what is in none of the four: with it, the rows add up to the total that is shown."""
    rest = [of for name, of in details.categories.items() if name not in CATEGORIES]
    metas = [of.line.meta for of in rest if of.line.meta is not None]
    line = CategoryLine(
        OTHER,
        money.total(of.line.estimated for of in rest),
        money.total(metas) if metas else None,
        money.total(of.line.amount for of in rest),
        source_of(of.line.source for of in rest),
    )
    missing = details.not_priced - sum(_lacking(details.categories[name]) for name in CATEGORIES)
    return CategoryDetail(details.other, line, money.total(of.shown for of in rest), max(missing, 0))


def _lacking(of: CategoryDetail) -> int:
    """Return the messages without a price that its cost lacks: where Meta's figure stands, it lacks none."""
    return 0 if of.line.source is CostSource.META else of.not_priced


def _unit_prices(prices: Sequence[UsedPrice], show: Format, texts: Texts) -> str:
    found = list(
        dict.fromkeys(
            show.message_price(price.unit_price, price.price_currency) if price.unit_price else texts.gettext("Grátis")
            for price in prices
        )
    )
    return f"{NBSP}·{NBSP}".join(found[:PRICES_NAMED_MAX]) + (" …" if len(found) > PRICES_NAMED_MAX else "")


def _comparison(key: str, details: AccountDetails, show: Format) -> dict[str, str]:
    """Return estimate, Meta's figure and their difference, rounded so that each column adds up to its total."""
    of = {name: _other(details) if name == OTHER else details.categories[name] for name in ROWS}
    estimated = money.largest_remainder([of[name].line.estimated for name in ROWS])
    known = [name for name in ROWS if of[name].line.meta is not None]
    metas = dict(zip(known, money.largest_remainder([of[name].line.meta or Decimal(0) for name in known]), strict=True))
    found: dict[str, str] = {}
    for name, ours in zip(ROWS, estimated, strict=True):
        theirs, row = metas.get(name), f"{key}-{name.lower()}"
        found |= _compared(row, ours, theirs, details.currency, show)
    theirs = money.total(metas.values()) if metas else None
    compared_with = money.total(ours for name, ours in zip(ROWS, estimated, strict=True) if name in metas)
    found |= _compared(f"{key}-total", money.total(estimated), theirs, details.currency, show)
    if theirs is not None:
        difference = money.total((theirs, compared_with.copy_negate()))
        found[f"{key}-total-diferenca"] = show.money_full(difference, details.currency)
    return found


def _meta_notes(
    key: str, compared: Mapping[str, str], details: AccountDetails, texts: Texts, show: Format
) -> dict[str, str]:
    """Return the comparison as a sentence, for screens too narrow for its columns, and when Meta was read."""
    figures = {name: compared[f"{key}-total-{name}"] for name in ("estimado", "meta", "diferenca")}
    sentence = texts.gettext("Estimado %(estimado)s · Meta %(meta)s · diferença %(diferenca)s") % figures
    read_at = details.meta.as_of
    return {
        f"{key}-comparacao": "" if figures["meta"] == UNKNOWN else sentence,
        f"{key}-lida": ""
        if read_at is None
        else texts.gettext("Meta lida em %(momento)s.") % {"momento": show.moment(read_at)},
    }


def _compared(row: str, ours: Decimal, theirs: Decimal | None, currency: str, show: Format) -> dict[str, str]:
    difference = None if theirs is None else money.total((theirs, ours.copy_negate()))
    return {
        f"{row}-estimado": show.money_full(ours, currency),
        f"{row}-meta": show.cost(theirs, currency, full=True),
        f"{row}-diferenca": UNKNOWN if difference is None else show.money_full(difference, currency),
    }


def _total(key: str, details: AccountDetails, show: Format, texts: Texts) -> dict[str, str]:
    missing = details.not_priced
    not_priced = texts.gettext("%(quantidade)s sem preço") % {"quantidade": show.count(missing)}
    label = texts.gettext("Gastos Totais Hoje (%(dia)s)") % {"dia": show.day(details.day)}
    sent = details.other + sum(details.categories[name].messages for name in CATEGORIES)
    return {
        f"{key}-total-rotulo": label,
        f"{key}-total-quantidade": show.number(sent),
        f"{key}-total-custo": show.cost(details.total_shown, details.currency, lower_bound=missing > 0, full=True),
        f"{key}-sem-preco": f"?{NBSP}{not_priced}" if missing else "",
    }


def _notes(key: str, details: AccountDetails, show: Format, texts: Texts) -> dict[str, str]:
    return {
        f"{key}-recebidas": texts.gettext("Hoje é parcial. Recebidas hoje: %(quantidade)s, sem custo.")
        % {"quantidade": show.number(details.inbound)},
        f"{key}-aguardando": texts.ngettext(
            "%(quantidade)s mensagem enviada ainda sem confirmação de entrega.",
            "%(quantidade)s mensagens enviadas ainda sem confirmação de entrega.",
            details.awaiting_delivery,
        )
        % {"quantidade": show.number(details.awaiting_delivery)}
        if details.awaiting_delivery
        else "",
        f"{key}-tabela": _card_sentence(details, show, texts),
        f"{key}-anuncios": _ads_sentence(details, show, texts),
        f"{key}-reconectar": texts.gettext("A conexão com a Meta precisa ser refeita. Seguimos com a estimativa.")
        if details.meta.reconnect
        else "",
        f"{key}-nao-contadas": texts.ngettext(
            "%(quantidade)s mensagem informada pelo sistema não entra na conta: o webhook da Meta já conta.",
            "%(quantidade)s mensagens informadas pelo sistema não entram na conta: o webhook da Meta já conta.",
            details.uncounted,
        )
        % {"quantidade": show.number(details.uncounted)}
        if details.uncounted
        else "",
    }


def _card_sentence(details: AccountDetails, show: Format, texts: Texts) -> str:
    """Name the cards and exchange rates that today's estimate was made with."""
    parts = []
    for price in details.prices:
        if price.card == FREE_CARD:
            parts.append(texts.gettext("grátis onde a Meta diz que é"))
            continue
        sentence = (
            texts.gettext("Tabela do produto, desde %(dia)s")
            if price.card == DEFAULT_CARD
            else texts.gettext("Tabela %(tabela)s, desde %(dia)s")
        )
        parts.append(sentence % {"tabela": price.card, "dia": show.day_full(price.effective_from)})
        if price.exchange_rate_from is not None:
            rate = texts.gettext("câmbio %(taxa)s (%(fonte)s, desde %(dia)s)") % {
                "taxa": show.rate(price.exchange_rate),
                "fonte": price.exchange_rate_source,
                "dia": show.day_full(price.exchange_rate_from),
            }
            parts.append(rate)
    return " · ".join(dict.fromkeys(parts))


def _ads_sentence(details: AccountDetails, show: Format, texts: Texts) -> str:
    spend = details.cost.ads
    if spend is None or spend.amount is None:
        return ""
    amount = show.money_full(spend.amount, spend.currency)
    if details.cost.ads_are_total:
        return texts.gettext("O total é o gasto com anúncios na Meta: %(valor)s.") % {"valor": amount}
    return texts.gettext("Anúncios na Meta, à parte do total: %(valor)s.") % {"valor": amount}
