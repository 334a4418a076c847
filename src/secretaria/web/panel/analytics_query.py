"""The address of "Analytics e Consumo": every choice of the page lives in it, and a copied link shows the same view."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from secretaria.core.period import DAY_FIRST, DAY_LAST, Period, month_of, week_of
from secretaria.services.period_figures import DAYS_MAX, Dimension
from secretaria.services.period_view import DAILY_DAYS_MAX, DAYS_MAX_BY, HOURLY_DAYS_MAX, Comparison, Step, Wanted
from secretaria.web.panel.i18n import Texts

VALUE_CHARS_MAX: Final = 200
ID_DIGITS_MAX: Final = 18
_DAY: Final = timedelta(days=1)


class Metric(StrEnum):
    """What the chart shows."""

    COST = "custo"
    MESSAGES = "mensagens"
    TOKENS = "tokens"
    RESPONSE = "resposta"


class Preset(StrEnum):
    """Periods with a name; they move with the day."""

    TODAY = "hoje"
    YESTERDAY = "ontem"
    THIS_WEEK = "semana"
    MONTH = "mes"
    LAST_MONTH = "mes-passado"
    WEEK = "7d"
    THIRTY = "30d"


STEPS: Final = {"hora": Step.HOUR, "dia": Step.DAY, "semana": Step.WEEK}
COMPARISONS: Final = {"mes": Comparison.MONTH, "anterior": Comparison.BEFORE, "nao": Comparison.NONE}
DIMENSIONS: Final = {
    "categoria": Dimension.CATEGORY,
    "conta": Dimension.ACCOUNT,
    "modelo": Dimension.MODEL,
    "direcao": Dimension.DIRECTION,
    "centro": Dimension.COST_CENTER,
}
NAME_OF: Final = {dimension: name for name, dimension in DIMENSIONS.items()}
DEFAULT_PRESET: Final = Preset.MONTH
EVERY_ROW: Final = "todas"
"""The value of `linhas` that shows each row of a breakdown."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What the address asks for, and what is wrong with it: problems by field, in the reader's language.

    chosen holds what the address names and is right; what it leaves out follows its default.
    """

    chosen: Mapping[str, str]
    preset: Preset | None
    period: Period
    step: Step
    metric: Metric
    dimension: Dimension
    comparison: Comparison | None
    narrowed: Mapping[Dimension, str | None]
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Wanted:
        """The question to the read model."""
        return Wanted(self.period, self.step, self.dimension, self.comparison, self.narrowed)

    def url(self, path: str, **changes: str | None) -> str:
        """Return the address with some choices changed; None takes one away."""
        query = self.query(**changes)
        return f"{path}?{query}" if query else path

    def query(self, **changes: str | None) -> str:
        """Return the address' query with some choices changed; `f_centro` stands for f.centro."""
        found: dict[str, str | None] = {**self.chosen}
        for name, value in changes.items():
            found[name.replace("f_", "f.", 1) if name.startswith("f_") else name] = value
        return urlencode({name: value for name, value in found.items() if value is not None})

    def dates(self) -> dict[str, str]:
        """Return the period as first and last day, for exports and explanations."""
        return {"de": self.period.start.isoformat(), "ate": (self.period.end - _DAY).isoformat()}

    def filters(self) -> dict[str, str]:
        """Return what the view is narrowed to, as the address says it."""
        return {f"f.{NAME_OF[of]}": value or "" for of, value in self.narrowed.items()}


def preset_period(preset: Preset, today: date) -> Period:
    """Return the days of a preset."""
    month = month_of(today)
    return {
        Preset.TODAY: Period(today, today + _DAY),
        Preset.YESTERDAY: Period(today - _DAY, today),
        Preset.THIS_WEEK: week_of(today),
        Preset.MONTH: month,
        Preset.LAST_MONTH: month_of(month.start - _DAY),
        Preset.WEEK: Period(today - 6 * _DAY, today + _DAY),
        Preset.THIRTY: Period(today - 29 * _DAY, today + _DAY),
    }[preset]


def parse(given: Mapping[str, str], today: date, texts: Texts) -> PageQuery:
    """Read an address on the company's local day `today`; nothing in it raises: what is wrong is told and left out."""
    reader = _Reader({name: value[:VALUE_CHARS_MAX].replace("\x00", "") for name, value in given.items()}, texts)
    preset, period = reader.period(today)
    begun = Period(period.start, max(period.start, min(period.end, today + _DAY)))
    return PageQuery(
        preset=preset,
        period=period,
        step=reader.step(begun),
        metric=Metric(reader.kept("metrica", set(Metric)) or Metric.COST),
        dimension=DIMENSIONS.get(reader.kept("dim", DIMENSIONS), Dimension.CATEGORY),
        comparison=COMPARISONS.get(reader.kept("comparar", COMPARISONS)),
        narrowed=reader.narrowed(),
        chosen=reader.chosen,
        problems=reader.problems,
    )


def day_of(text: str) -> date | None:
    """Return a day written 2026-11-20, None for anything else."""
    try:
        day = date.fromisoformat(text) if len(text) == len("2026-11-20") else None
    except ValueError:
        return None
    return day if day is not None and DAY_FIRST <= day < DAY_LAST else None


class _Reader:
    """Takes choices out of an address one after the other, noting what was right and what was not."""

    def __init__(self, given: Mapping[str, str], texts: Texts) -> None:
        self._given = given
        self._texts = texts
        self.chosen: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def kept(self, name: str, choices: Container[str]) -> str:
        """Return a choice that is one of the choices, else nothing."""
        value = self._given.get(name, "")
        if value not in choices:
            return ""
        self.chosen[name] = value
        return value

    def period(self, today: date) -> tuple[Preset | None, Period]:
        """Return the preset or the days from `de` to `ate`; whichever is wrong falls back to the default."""
        if not self._given.get("de") and not self._given.get("ate"):
            preset = Preset(self.kept("periodo", set(Preset)) or DEFAULT_PRESET)
            return preset, preset_period(preset, today)
        _ = self._texts.gettext
        first, last = day_of(self._given.get("de", "")), day_of(self._given.get("ate", ""))
        if first is None:
            self.problems["de"] = _("Escreva a data inicial como dia, mês e ano.")
        elif first > today:
            self.problems["de"] = _("Este período ainda não começou.")
        if last is None:
            self.problems["ate"] = _("Escreva a data final como dia, mês e ano.")
        elif first is not None and last < first:
            self.problems["ate"] = _("A data final vem antes da inicial.")
        elif first is not None and (min(last, today) - first).days >= DAYS_MAX:
            self.problems["ate"] = _("O período máximo é de %(dias)s dias.") % {"dias": DAYS_MAX}
        if first is None or last is None or self.problems:
            return DEFAULT_PRESET, preset_period(DEFAULT_PRESET, today)
        self.chosen |= {"de": first.isoformat(), "ate": last.isoformat()}
        return None, Period(first, last + _DAY)

    def step(self, begun: Period) -> Step:
        """Return how fine the chart is; finer than the period allows is told and made coarser."""
        days = (begun.end - begun.start).days
        finest = Step.HOUR if days <= 1 else Step.DAY if days <= DAILY_DAYS_MAX else Step.WEEK
        step = STEPS.get(self._given.get("por", ""), finest)
        if days > DAYS_MAX_BY.get(step, DAYS_MAX):
            self.problems["por"] = too_fine(step, self._texts)
            return finest
        self.kept("por", STEPS)
        return step

    def narrowed(self) -> dict[Dimension, str | None]:
        """Return what the view is narrowed to; an empty value stands for uses without one."""
        found: dict[Dimension, str | None] = {}
        for name, dimension in DIMENSIONS.items():
            value = self._given.get(f"f.{name}")
            if value is None:
                continue
            is_number = value.isascii() and value.isdecimal() and len(value) <= ID_DIGITS_MAX
            if dimension is Dimension.ACCOUNT and value and not is_number:
                self.problems["conta"] = self._texts.gettext("Esta conta não existe.")
                continue
            self.chosen[f"f.{name}"] = value
            found[dimension] = value or None
        return found


def too_fine(step: Step, texts: Texts) -> str:
    """Return why a step cannot be chosen for a long period."""
    if step == Step.HOUR:
        return texts.gettext("Por hora, o período máximo é de %(dias)s dias.") % {"dias": HOURLY_DAYS_MAX}
    return texts.gettext("Por dia, o período máximo é de %(dias)s dias.") % {"dias": DAILY_DAYS_MAX}
