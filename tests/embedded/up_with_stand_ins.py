"""`secretaria up` with two small children in the place of web and worker. Run as a program, never imported.

On SIGTERM a grateful child writes its name into the database before it ends, which shows that the database outlived it.
"""

import os
import sys

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.children import ChildSpec
from secretaria.embedded.servers import Endpoints
from secretaria.embedded.up import run_up
from secretaria.settings import Settings

NAMES = ("web", "worker")
CHILD = """
import os, pathlib, signal, sys, threading
name, behaviour, data_dir = sys.argv[1:4]
ended = threading.Event()
def leave(*_):
    if behaviour != "deaf":
        ended.set()
signal.signal(signal.SIGTERM, leave)
if behaviour == "misconfigured":
    sys.exit(78)
print(name, os.getpid(), flush=True)
pathlib.Path(data_dir, name).touch()
while not ended.wait(0.05):
    pass
if behaviour != "grateful":
    sys.exit()
import psycopg
from redis import Redis
with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as connection:
    connection.execute("INSERT INTO farewells VALUES (%s)", [name])
Redis.from_url(os.environ["REDIS_URL"]).set(name, "left")
"""


def prepare(endpoints: Endpoints) -> None:
    import psycopg

    with psycopg.connect(endpoints.owner_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS farewells (name text)")
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number int)")


def main() -> int:
    settings = Settings.load()
    behaviour, data_dir = os.environ.get("CHILD_BEHAVIOUR", "plain"), settings.secretaria_data_dir
    for name in NAMES:
        (data_dir / name).unlink(missing_ok=True)
    children = [
        # The data folder among the arguments lets the tests find what is left of a copy.
        ChildSpec(name, [sys.executable, "-c", CHILD, name, behaviour, str(data_dir)], ready=(data_dir / name).exists)
        for name in NAMES
    ]
    try:
        return run_up(
            settings,
            children,
            prepare=prepare,
            on_ready=lambda _: print("ready", flush=True),
            shared_buffers_mb=32,
        )
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
