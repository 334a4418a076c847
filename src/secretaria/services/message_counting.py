"""Counts messages from their reports in the caller's transaction: heads, rows, facts, sums. Used by Meta's webhook,
POST /api/messages and the replay of what was set aside.

One message counts once, however it is reported. Example: a bot reports wamid A (1 message, 120 tokens) before the
account's first webhook; later Meta says sent, utility. The bot's message goes out of its sums (-1, a fact that names
the bot's event in `corrects`) and Meta's goes in (+1, UTILITY); the tokens stay. The other way round, Meta first, the
bot's event finds the row settled and adds its tokens only. In either order: one message, UTILITY, 120 tokens.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from hashlib import blake2b
from typing import Final

from secretaria.core.event import HASH_VERSION, Direction, UsageData, UsageEvent, epoch_us, identity_of
from secretaria.core.period import DayFinder, ZoneSchedule
from secretaria.core.price import Dimensions
from secretaria.core.usage import PreparedEvent, folded, sum_deltas
from secretaria.core.whatsapp import (
    RESPONSE_WITHIN,
    Contribution,
    DatedCategory,
    MessageState,
    MessageUpdate,
    Turn,
    apply,
    contribution,
    merge,
    response_times,
)
from secretaria.services import crossings
from secretaria.services.counting import SERIES_A_DAY_MAX
from secretaria.store import events as events_store
from secretaria.store import messages as store
from secretaria.store import series as series_store
from secretaria.store import templates
from secretaria.store.alerts import PeriodKey
from secretaria.store.database import Connection
from secretaria.store.messages import Conversation, Hints, MessageKey, Place, StoredMessage

# With a space, which no sender's source may hold (core/admission.py): nobody can take these identities.
SOURCE: Final = "whatsapp messages"
CHANGED: Final = "message.changed"
_NO_PLACE: Final[Place] = (0, date.min, 0)
_NO_HINTS: Final = Hints(None, None, None)

Update = tuple[int, MessageUpdate]
"""(company_id, report)."""


@dataclass(frozen=True, slots=True)
class CountedMessages:
    """What was counted, not committed yet: the heads' new versions and the messages that a report changed."""

    versions: dict[int, int]
    changed: frozenset[MessageKey]


@dataclass(frozen=True, slots=True)
class _Change:
    """A message as it is stored, and what it is to become."""

    key: MessageKey
    before: StoredMessage
    state: MessageState
    response_ms: int | None


async def count_messages(
    connection: Connection, updates: Iterable[Update], *, direct: bool, now: datetime
) -> CountedMessages:
    """Apply the reports, count what changed and decide about alerts. Companies that do not exist are left out.

    Raises psycopg.Error; the caller rolls back.
    """
    by_key: dict[MessageKey, list[MessageUpdate]] = defaultdict(list)
    for company_id, update in updates:
        by_key[company_id, update.wamid].append(update)
    # 1. Locks first: what is read from here on cannot change under us.
    heads = await events_store.lock_heads(connection, {company_id for company_id, _ in by_key})
    by_key = {key: found for key, found in by_key.items() if key[0] in heads}
    versions = {company_id: head.version for company_id, head in heads.items()}
    if not by_key:
        return CountedMessages(versions, frozenset())
    # 2. The states, and whose answer times they touch.
    stored = await _read(connection, sorted(by_key))
    states = {key: _applied(stored[key], by_key[key]) for key in stored}
    changed = frozenset(key for key, state in states.items() if state != stored[key].state)
    changes = await _with_responses(connection, stored, {key: states[key] for key in changed})
    # 3. Facts and sums of what differs.
    due = await _Writer(connection, heads, direct=direct).write(changes)
    # 4. A message that failed gives its place back, and takes no alert back: that is for corrections.
    if due:
        await crossings.decide(connection, dict.fromkeys(due, False), now=now)
    return CountedMessages(versions, changed)


async def _read(connection: Connection, keys: Sequence[MessageKey]) -> dict[MessageKey, StoredMessage]:
    """Return the rows, empty ones for new messages; a message counted once and removed since is left out for ever."""
    stored = await store.read(connection, keys)
    first = {key: (key[0], _identity(key[1], 1)) for key in keys if key not in stored}
    taken = await store.read_taken(connection, first.values()) if first else set()
    for key, identity in first.items():
        if identity not in taken:
            stored[key] = StoredMessage(identity[1], _NO_PLACE, None, 0, None, False, 0, _NO_HINTS)
    return stored


def _applied(before: StoredMessage, updates: Iterable[MessageUpdate]) -> MessageState:
    """Return the state with these reports, and with what a usage event said of the message before."""
    state = before.state
    for update in updates:
        state = apply(state, update)
    if state is None:
        raise ValueError("a message without a report")
    hints = before.hints
    if before.state is None and hints != _NO_HINTS:
        said = MessageState(
            state.direction,
            state.first_at,
            template_id=hints.template_id,
            category=hints.category,
            country=hints.country,
        )
        state = merge(state, said)
    return state


# --- answer times --------------------------------------------------------------------------------------------------


async def _with_responses(
    connection: Connection, stored: Mapping[MessageKey, StoredMessage], states: Mapping[MessageKey, MessageState]
) -> list[_Change]:
    """Return what changes: the messages reported on, and answers whose question or predecessor was among them."""
    stretches = _stretches(stored, states)
    around = await store.read_conversations(connection, list(stretches.values())) if stretches else {}
    rows = {**around, **{key: stored[key] for key in states}}
    now = {key: row.state for key, row in around.items() if row.state is not None} | dict(states)
    turns: dict[tuple[int, int, str], list[Turn]] = defaultdict(list)
    for (company_id, wamid), state in now.items():
        if state.counts and (conversation := _conversation(company_id, state)) is not None:
            turns[conversation].append(Turn(wamid, state.direction, state.first_at))
    times = {
        (conversation[0], wamid): milliseconds
        for conversation, found in turns.items()
        for wamid, milliseconds in response_times(found).items()
    }
    changes = []
    for key, state in now.items():
        response_ms = _response(rows[key], times.get(key), _is_within(key[0], state, stretches))
        if key in states or response_ms != rows[key].response_ms:
            changes.append(_Change(key, rows[key], state, response_ms))
    return sorted(changes, key=lambda change: change.key)


def _response(row: StoredMessage, measured: int | None, within: bool) -> int | None:
    """A time the sender gave of this message holds; outside of what was read, what was measured before does."""
    if not within or (row.has_response and row.response_ms is None):
        return row.response_ms
    return measured


def _conversation(company_id: int, state: MessageState) -> tuple[int, int, str] | None:
    if state.contact is None or state.account_id is None:
        return None
    return company_id, state.account_id, state.contact[0]


def _stretches(
    stored: Mapping[MessageKey, StoredMessage], states: Mapping[MessageKey, MessageState]
) -> dict[tuple[int, int, str], Conversation]:
    """A message bears on answers up to a day after it, and those on questions up to a day before them."""
    found: dict[tuple[int, int, str], Conversation] = {}
    for key, state in states.items():
        conversation = _conversation(key[0], state)
        if conversation is None:
            continue
        before = stored[key].state
        start = min(state.first_at, before.first_at if before else state.first_at) - RESPONSE_WITHIN
        end = max(state.first_at, before.first_at if before else state.first_at) + RESPONSE_WITHIN
        if (known := found.get(conversation)) is not None:
            start, end = min(start, known.start), max(end, known.end)
        found[conversation] = Conversation(*conversation, start, end)
    return found


def _is_within(company_id: int, state: MessageState, stretches: Mapping[tuple[int, int, str], Conversation]) -> bool:
    """Tell whether all questions that this message could answer were read."""
    conversation = _conversation(company_id, state)
    if conversation is None:
        return True
    stretch = stretches.get(conversation)
    return stretch is not None and state.first_at >= stretch.start + RESPONSE_WITHIN


# --- facts and sums ------------------------------------------------------------------------------------------------


class _Writer:
    """Writes the differences between what counted and what counts now."""

    def __init__(
        self, connection: Connection, heads: Mapping[int, events_store.Head], *, direct: bool
    ) -> None:
        self._connection = connection
        self._heads = heads
        self._direct = direct

    async def write(self, changes: Sequence[_Change]) -> list[PeriodKey]:
        """Write the facts, the message rows and the sums, in the order of the locks; return what add_sums does."""
        if not changes:
            return []
        days = await self._read_days(changes)
        contributions = await self._contributions(changes)
        hours = [days[change.key[0]].find(epoch_us(change.state.first_at)) for change in changes]
        wanted = [
            (change.key[0], day, added.dimensions)
            for change, added, (day, _) in zip(changes, contributions, hours, strict=True)
        ]
        series = await self._find_series(wanted)
        facts: list[PreparedEvent] = []
        rows: list[tuple[MessageKey, StoredMessage]] = []
        for change, added, series_id, (day, hour) in zip(changes, contributions, series, hours, strict=True):
            new, row = _differences(change, added, (series_id, day, hour))
            facts += new
            rows.append((change.key, row))
        if facts:
            await events_store.add_identities(self._connection, facts, direct=self._direct)
            await events_store.add_events(self._connection, facts, direct=self._direct)
        await store.write(self._connection, rows)
        if not facts:
            return []
        return await events_store.add_sums(self._connection, sum_deltas(facts), heads=self._heads)

    async def _find_series(self, wanted: Sequence[tuple[int, date, Dimensions]]) -> list[int]:
        """Return the series of each (company, day, dimensions); past SERIES_A_DAY_MAX a day, templates fold."""
        found = await series_store.intern_series(self._connection, [(of, dimensions) for of, _, dimensions in wanted])
        days = {(of, day) for of, day, dimensions in wanted if dimensions.template_id is not None}
        counts = await series_store.count_day_series(self._connection, days) if days else {}
        in_use: dict[tuple[int, date], set[int]] = {}
        for key, count in counts.items():
            new = {found[of, dimensions] for of, day, dimensions in wanted if (of, day) == key}
            if count + len(new) > SERIES_A_DAY_MAX:
                in_use[key] = await series_store.read_day_series(self._connection, *key)
        chosen = list(wanted)
        for place, (of, day, dimensions) in enumerate(wanted):
            used = in_use.get((of, day))
            if used is None or dimensions.template_id is None or found[of, dimensions] in used:
                continue
            if len(used) < SERIES_A_DAY_MAX:
                used.add(found[of, dimensions])
            else:
                chosen[place] = (of, day, folded(dimensions))
        if chosen != list(wanted):
            found |= await series_store.intern_series(self._connection, [(of, dims) for of, _, dims in chosen])
        return [found[of, dimensions] for of, _, dimensions in chosen]

    async def _read_days(self, changes: Sequence[_Change]) -> dict[int, DayFinder]:
        zones = await events_store.read_zones(self._connection, {change.key[0] for change in changes})
        return {company_id: DayFinder(ZoneSchedule(rows)) for company_id, (_, rows) in zones.items()}

    async def _contributions(self, changes: Sequence[_Change]) -> list[Contribution]:
        used = {
            (change.key[0], change.state.template_id) for change in changes if change.state.template_id is not None
        }
        histories: Mapping[tuple[int, int], list[DatedCategory]] = (
            await templates.read_histories(self._connection, sorted(used)) if used else {}
        )
        return [
            contribution(
                change.state,
                histories.get((change.key[0], change.state.template_id or 0), ()),
                response_ms=change.response_ms,
            )
            for change in changes
        ]


def _differences(
    change: _Change, added: Contribution, place: Place
) -> tuple[list[PreparedEvent], StoredMessage]:
    """Return the facts that lead from what counted to what counts, none where nothing differs, and the row then.

    A moved day or another category: the old goes out (-1), the new comes in (+1). Same sums: one fact, the difference.
    """
    before = change.before
    was = (before.messages, before.response_ms)
    now = (added.messages, added.response_ms)
    steps: list[tuple[Place, tuple[int, int, int]]]
    if place == before.place:
        steps = [(place, _less(_amounts(now), _amounts(was)))]
    else:
        steps = [(before.place, _less((0, 0, 0), _amounts(was))), (place, _amounts(now))]
    facts: list[PreparedEvent] = []
    number = before.change_number
    for at, amounts in steps:
        if any(amounts):
            number += 1
            takes_over = before.state is None and at == before.place
            corrects = before.identity if takes_over and before.messages else None
            facts.append(_fact(change, added.dimensions, number, at, amounts, corrects=corrects))
    row = replace(
        before,
        place=place,
        state=change.state,
        messages=added.messages,
        response_ms=added.response_ms,
        has_response=before.has_response if before.response_ms is None and before.has_response else now[1] is not None,
        change_number=number,
    )
    return facts, row


def _amounts(counted: tuple[int, int | None]) -> tuple[int, int, int]:
    messages, response_ms = counted
    return messages, response_ms or 0, 0 if response_ms is None else 1


def _less(now: tuple[int, int, int], was: tuple[int, int, int]) -> tuple[int, int, int]:
    return now[0] - was[0], now[1] - was[1], now[2] - was[2]


def _fact(
    change: _Change,
    dimensions: Dimensions,
    number: int,
    place: Place,
    amounts: tuple[int, int, int],
    *,
    corrects: str | None,
) -> PreparedEvent:
    company_id, wamid = change.key
    identity = _identity(wamid, number)
    data = UsageData(template_id=dimensions.template_id)
    event = UsageEvent(specversion="1.0", id=_event_id(wamid, number), source=SOURCE, type=CHANGED, data=data)
    series_id, day, hour = place
    messages, response_ms, response_count = amounts
    return PreparedEvent(
        company_id,
        identity,
        HASH_VERSION + identity,
        change.state.first_at.isoformat(),
        day,
        hour,
        (Direction(dimensions.direction), None, None, None, None, None, None),
        messages,
        0,
        0,
        response_ms,
        response_count,
        event,
        series_id=series_id,
        corrects=corrects,
    )


def _event_id(wamid: str, number: int) -> str:
    """A wamid holds the customer's phone, in base64: facts are kept for ever and know its hash only."""
    return f"{blake2b(wamid.encode(), digest_size=16).hexdigest()}#{number}"


def _identity(wamid: str, number: int) -> str:
    return identity_of(SOURCE, _event_id(wamid, number))
