"""Mails as a mail server sees them."""

import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from smtplib import SMTPServerDisconnected

import pytest
from bandstand.conf import ServiceEnvironment
from django.core.mail import EmailMessage
from pytest_django.fixtures import Settings

from notifications import mail
from notifications.events import NotificationQueued
from notifications.models import Notification

pytestmark = pytest.mark.django_db


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it takes. ``refuse`` is its answer instead; ``hang_up``: it takes, and ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.mails: list[Message] = []
        self.refuse = b""
        self.hang_up = False


class Conversation(socketserver.StreamRequestHandler):
    """One connection, after RFC 5321."""

    server: Mailbox

    def handle(self) -> None:
        self.wfile.write(b"220 mailbox\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(message_from_bytes(b"".join(lines)))
                if self.server.hang_up:
                    return
            self.wfile.write(self.answer_to(verb))

    def answer_to(self, verb: bytes) -> bytes:
        if verb == b"RCPT" and self.server.refuse:
            return self.server.refuse
        return b"221 bye\r\n" if verb == b"QUIT" else b"250 good\r\n"


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    """A mail server on a port of its own, which the service sends to as it would in production."""
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        send_to(settings, f"smtp://127.0.0.1:{server.server_address[1]}")
        yield server
        server.shutdown()


def send_to(settings: Settings, url: str) -> None:
    environment = ServiceEnvironment.read("notification-service", {**os.environ, "EMAIL_URL": url})
    for name, value in environment.email.items():
        setattr(settings, name, value)


def test_a_mail_arrives_whole(mailbox: Mailbox, make_notification: Callable[..., Notification]) -> None:
    """Sender, recipient, subject and text in any script; made by a program, and known by its event."""
    notification = make_notification(subject="Grüße an Ødegård", body="Schön, dass du da bist. ✨\n")
    mail.send(notification.pk)
    [arrived] = mailbox.mails
    assert arrived["To"] == "ada@example.com"
    assert arrived["From"] == "The shop <shop@example.com>"
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived["Message-ID"] == f"<{notification.event_id}.welcome@example.com>"
    text = arrived.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().startswith("Schön, dass du da bist. ✨")


def test_a_mail_server_that_is_down_is_tried_again(
    settings: Settings, make_notification: Callable[..., Notification], receive_event: Callable[..., int]
) -> None:
    """Nobody listens: the attempt fails, the notification waits, and the same event sends it when somebody does."""
    with Mailbox() as server:
        port = server.server_address[1]
    send_to(settings, f"smtp://127.0.0.1:{port}")
    notification = make_notification()
    queued = NotificationQueued(notification_id=notification.pk)
    with pytest.raises(OSError, match="refused"):
        receive_event(queued, key="k", source="notification-service", id="0190-a")
    notification.refresh_from_db()
    assert (notification.status, notification.sent_at) == ("queued", None)
    send_to(settings, "memory://")
    assert receive_event(queued, key="k", source="notification-service", id="0190-a") == 1
    notification.refresh_from_db()
    assert notification.status == "sent"


def test_a_refusal_is_no_success(mailbox: Mailbox, make_notification: Callable[..., Notification]) -> None:
    """A server that will not have the recipient, for now or for good, has not taken the mail."""
    notification = make_notification()
    for refusal in (b"451 come back later\r\n", b"550 nobody here\r\n"):
        mailbox.refuse = refusal
        with pytest.raises(OSError, match=r"ada@example\.com"):
            mail.send(notification.pk)
    notification.refresh_from_db()
    assert notification.status == "queued"


def test_a_server_that_hangs_up_after_the_mail_gets_the_same_mail_again(
    mailbox: Mailbox, make_notification: Callable[..., Notification]
) -> None:
    """Nobody knows whether it was taken, so it is sent again; both have one Message-ID, by which they are one."""
    notification = make_notification()
    mailbox.hang_up = True
    with pytest.raises(SMTPServerDisconnected):
        mail.send(notification.pk)
    mailbox.hang_up = False
    mail.send(notification.pk)
    mail.send(notification.pk)
    first, second = (arrived["Message-ID"] for arrived in mailbox.mails)
    assert first == second


@pytest.mark.parametrize("field", ["subject", "recipient"])
@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n"])
def test_no_header_is_ever_injected(
    make_notification: Callable[..., Notification], mailoutbox: list[EmailMessage], field: str, break_: str
) -> None:
    """A row with a line break where a header is made of it, however it came about, is refused and not sent."""
    known = {"subject": "Hello", "recipient": "ada@example.com"}[field]
    notification = make_notification(**{field: f"{known}{break_}Bcc: all@example.com"})
    with pytest.raises(ValueError, match=r"[Hh]eader|Invalid address"):
        mail.send(notification.pk)
    assert mailoutbox == []
