"""``python -m bandstand.topology``: the job that declares what services share at the broker."""

import argparse
import asyncio
import os
import sys
import time
from typing import Final

from bandstand.conf import wire
from bandstand.conf.secrets import read_secret_files
from bandstand.exceptions import BandstandError, ConfigurationError
from bandstand.topology import declare

_EPILOG: Final = """
The URL is the administrator's, in BROKER_ADMIN_URL or in the file that BROKER_ADMIN_URL_FILE names.

Examples:
  BROKER_ADMIN_URL=nats://admin:secret@nats:4222 python -m bandstand.topology shop user-service order-service
  BROKER_ADMIN_URL=amqp://admin:secret@rabbitmq:5672/%2F python -m bandstand.topology shop user-service
"""
_PAUSE: Final = 1.0


def main() -> int:
    """Declare what is missing, and try again until it succeeds or ``--wait`` is over; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bandstand.topology",
        description="Declare what the services of a platform share at their broker. What exists is left as it is.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("platform", help="the name of the platform, as in bandstand.toml")
    parser.add_argument("services", nargs="+", metavar="service", help="the services that publish or subscribe")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="how long to try (default: 60)")
    parser.add_argument(
        "--replicas", type=int, default=1, metavar="N", help="servers of NATS that keep each stream (default: 1)"
    )
    arguments = parser.parse_args()
    variables, faults = read_secret_files(os.environ, (wire.BROKER_ADMIN_URL,))
    if faults:
        parser.error(" ".join(faults))
    url = variables.get(wire.BROKER_ADMIN_URL, "").strip()
    if not url:
        parser.error(f"{wire.BROKER_ADMIN_URL} is not set: nats://administrator:password@host:4222 or amqp://…")
    until = time.monotonic() + arguments.wait
    while True:
        try:
            made = asyncio.run(_declare(url, arguments))
        except ConfigurationError as error:
            parser.error(str(error))
        except BandstandError as error:
            if time.monotonic() > until:
                print(error, file=sys.stderr)
                return 1
            time.sleep(_PAUSE)
        else:
            print(f"declared: {', '.join(made)}" if made else "everything is there")
            return 0


async def _declare(url: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    return await declare(url, arguments.platform, arguments.services, replicas=arguments.replicas)


if __name__ == "__main__":
    sys.exit(main())
