"""The connection to RabbitMQ of a service: its parameters, and its errors in words."""

from typing import Final
from urllib.parse import unquote, urlsplit

import pika
from pika.exceptions import ChannelClosed, ConnectionClosed, ProbableAccessDeniedError
from pika.exceptions import ProbableAuthenticationError as WrongPassword

from bandstand.amqp import url_parameters
from bandstand.events.brokers.base import BrokerOptions
from bandstand.exceptions import BrokerError, BrokerUnavailable, ConfigurationError

__all__ = ["connection_parameters", "explained"]

_REFUSED: Final = 403
_NO_SUCH_HOST: Final = 530  # "not allowed": the virtual host is not there, or not for this user


def connection_parameters(url: str, options: BrokerOptions) -> pika.ConnectionParameters:
    """Return the parameters of ``url`` with the service's name and a heartbeat.

    Raises:
        ConfigurationError: the URL can't be understood.
    """
    try:
        parameters = url_parameters(url)
    except ValueError as error:
        raise ConfigurationError(
            f"BROKER_URL is not understood: {error}. Write amqp://user:password@host:5672/virtual-host "
            f"(%2F is the virtual host /), or amqps:// for TLS."
        ) from error
    if parameters.heartbeat is None:
        # Both sides may need two intervals to notice a silence; within the lease it must be noticed.
        parameters.heartbeat = max(1, int(options.lease / 2))
    parameters.client_properties = {"connection_name": options.service, "product": "Bandstand"}
    return parameters


def explained(error: BaseException, url: str) -> BrokerError:
    """Return what ``error`` means for who runs the service, without the password."""
    if isinstance(error, BrokerError):
        return error
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
    user = unquote(parts.username or "guest")
    code, text = (
        (error.reply_code, error.reply_text) if isinstance(error, (ChannelClosed, ConnectionClosed)) else (0, "")
    )
    if isinstance(error, WrongPassword) or (isinstance(error, ConnectionClosed) and code == _REFUSED):
        return BrokerError(f"RabbitMQ at {place} does not know the user {user!r}, or not that password.")
    if code == _NO_SUCH_HOST or isinstance(error, ProbableAccessDeniedError):
        host = unquote(parts.path[1:]) or "/"
        return BrokerError(f"RabbitMQ at {place} has no virtual host {host!r}, or not for the user {user!r}.")
    if code == _REFUSED:
        return BrokerError(f"RabbitMQ at {place} refuses the user {user!r}: {text}")
    return BrokerUnavailable(f"RabbitMQ at {place} can't be used: {text or str(error) or type(error).__name__}")
