"""A process that sends usage until it is killed: `python alert_writer.py DATABASE_URL REDIS_URL COMPANIES EVENTS`.

It sends every event in the same order each time it runs, so a second run repeats what the first one had counted.
"""

import asyncio
import sys

from secretaria.services.ingest import IngestService
from secretaria.store.database import Database
from secretaria.store.live import Live
from tests.shop import NOW, OPERATOR, event


async def main(database_url: str, redis_url: str, companies: list[int], events: int) -> None:
    database, live = Database.create(database_url), Live(redis_url)
    await database.open()
    service = IngestService(database, live)
    service.start()
    for number in range(events):
        batch = [event(str(number), subject=company) for company in companies]
        await service.submit(OPERATOR, list(enumerate(batch)), now=NOW)
    await service.close()
    await live.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3].split(",")], int(sys.argv[4])))
