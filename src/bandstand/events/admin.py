"""What staff sees of events: the outbox and deliveries to look at, dead letters to mend.

The inbox is not here: it has a row for each event, and nothing in it is anybody's to change.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from bandstand.conf import get_settings
from bandstand.events.envelope import decode
from bandstand.events.history import History
from bandstand.events.mending import LetterChanged, Mending, Outcome, data_of, pretty
from bandstand.events.models import DeadLetter, Delivery, OutboxMessage
from bandstand.events.subscriptions import REGISTRY
from bandstand.events.telling import happened, harmless, last_line, moment
from bandstand.events.tracing import TracedEntry
from bandstand.exceptions import InvalidEvent

__all__ = ["DeadLetterAdmin", "DeliveryAdmin", "OutboxMessageAdmin"]

_SHORT: Final = 80

if TYPE_CHECKING:  # generic for the checker alone
    _Admin = admin.ModelAdmin[Any]
    _Form = forms.ModelForm[DeadLetter]
else:
    _Admin = admin.ModelAdmin
    _Form = forms.ModelForm


class _Events(_Admin):
    """Rows of the database that events are kept in, which nobody adds by hand."""

    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Bodies may be large, and a list shows none of them.
        return super().get_queryset(request).using(get_settings().events.database).defer("body")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return False

    @admin.display(description=_("data"))
    def data(self, obj: Any) -> SafeString:
        """The event's data as people read them; the whole message where it is no event."""
        body = obj.body.encode() if isinstance(obj.body, str) else bytes(obj.body)
        try:
            text = pretty(decode(body)[1])
        except InvalidEvent:
            text = body.decode(errors="backslashreplace")
        return _block(text)

    @admin.display(description=_("error"))
    def full_error(self, obj: Any) -> SafeString:
        """With its lines as they are."""
        return _block(obj.error)

    @admin.display(description=_("error"))
    def short_error(self, obj: Any) -> str:
        """The line that says most."""
        return last_line(obj.error)[:_SHORT]


class _LookOnly(_Events):
    """Who may view may look; nobody may change or delete what relay and retrier work on."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return False


@admin.register(OutboxMessage)
class OutboxMessageAdmin(_LookOnly):
    """What this service published."""

    list_display = ("message_id", "type", "key", "created_at", "sent_at", "attempts", "short_error")
    list_filter = (("sent_at", admin.EmptyFieldListFilter),)
    search_fields = ("=message_id", "=key", "=correlation_id")
    ordering = ("-id",)
    fields = (
        ("message_id", "type", "key"),
        "correlation_id",
        ("created_at", "sent_at", "held_until", "attempts"),
        "full_error",
        "data",
    )
    readonly_fields = ("data", "full_error")


_ABOUT: Final = ("subscription", ("message_id", "type", "key"), ("source", "correlation_id"))


@admin.register(Delivery)
class DeliveryAdmin(_LookOnly):
    """What waits for a next attempt, or behind an older event of its key."""

    list_display = (
        "message_id",
        "subscription",
        "type",
        "key",
        "attempts",
        "deaths",
        "running",
        "due_at",
        "short_error",
    )
    list_filter = ("subscription", "type", "running")
    search_fields = ("=message_id", "=key", "=correlation_id", "error")
    ordering = ("due_at",)
    fields = (*_ABOUT, ("attempts", "deaths", "running"), ("created_at", "due_at"), "full_error", "data")
    readonly_fields = ("data", "full_error")


class _TextAsSent(forms.CharField):
    """Browsers send line ends as CR LF, which would make a change of a text that nobody touched."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class DeadLetterForm(_Form):
    """The event's data, which are stored only if the subscription's handler can read them."""

    new_data = _TextAsSent(
        label=_("data"),
        strip=False,
        widget=forms.Textarea(attrs={"rows": 20, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text=_("JSON. It is checked against what the handler reads; the history keeps what was here before."),
    )

    class Meta:
        model = DeadLetter
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            self.initial["new_data"] = pretty(data_of(self.instance))
        except InvalidEvent:
            self.fields["new_data"].disabled = True
            self.fields["new_data"].required = False
            self.fields["new_data"].help_text = _("The message is no event, so it can only be dropped.")

    def clean_new_data(self) -> str:
        """See that the handler could read it."""
        text = str(self.cleaned_data["new_data"])
        if "new_data" in self.changed_data:
            try:
                mending().check(self.instance, text.encode())
            except (InvalidEvent, UnicodeEncodeError) as error:
                raise ValidationError(str(error)) from error
        return text


@admin.register(DeadLetter)
class DeadLetterAdmin(_Events):
    """What was given up: replay it, edit its data, or drop it."""

    form = DeadLetterForm
    list_display = ("message_id", "subscription", "type", "reason", "attempts", "died_at", "short_error")
    list_filter = ("subscription", "type", "reason", "died_at")
    search_fields = ("=message_id", "=key", "=correlation_id", "error")
    ordering = ("-died_at",)
    fields = (*_ABOUT, ("reason", "attempts", "deaths", "died_at"), "full_error", "new_data", "history")
    readonly_fields = (
        "subscription",
        "message_id",
        "type",
        "key",
        "source",
        "correlation_id",
        "reason",
        "attempts",
        "deaths",
        "died_at",
        "full_error",
        "history",
    )
    actions = ("replay",)

    @admin.display(description=_("history"))
    def history(self, letter: DeadLetter) -> SafeString:
        """What happened to it before."""
        entries = (
            History(get_settings().events.database).of([letter.message_id]).filter(subscription=letter.subscription)
        )
        return _block("\n".join(_happened(entry) for entry in entries))

    @admin.action(description=_("Replay selected dead letters"), permissions=["change"])
    def replay(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        """Schedule them, and say of each that could not be why."""
        replayed = mending(request).replay(letters)
        scheduled = sum(each.outcome is Outcome.SCHEDULED for each in replayed)
        if scheduled:
            text = _("%d are stored, to be handled by the worker. They are in the deliveries until then.") % scheduled
            self.message_user(request, text, messages.SUCCESS)
        for each in replayed:
            if each.outcome is not Outcome.SCHEDULED:
                about = f"{each.letter} {each.subscription}: {each.outcome.value} {harmless(each.error)}"
                self.message_user(request, about, messages.ERROR)

    def save_model(self, request: HttpRequest, obj: DeadLetter, form: Any, change: bool) -> None:
        """Store the data, and nothing else of the row, which may have gone meanwhile."""
        del change
        if "new_data" not in form.changed_data:
            return
        try:
            mending(request).edit(obj.pk, form.cleaned_data["new_data"].encode())
        except (InvalidEvent, LetterChanged) as error:
            self.message_user(request, str(error), messages.ERROR)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what is to be dropped; nothing else hangs on it."""
        del request
        found: Collection[Model] = list(objs)
        return [str(each) for each in found], {"dead letters": len(found)}, set(), []

    def delete_model(self, request: HttpRequest, obj: DeadLetter) -> None:
        """Drop one; the history says who did it."""
        mending(request).drop([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Drop several."""
        mending(request).drop(list(queryset.values_list("pk", flat=True)))


def mending(request: HttpRequest | None = None) -> Mending:
    """Return what mends in the name of who asks."""
    by = str(getattr(request, "user", "")) if request is not None else ""
    return Mending(get_settings().events.database, REGISTRY, by=by)


def _happened(entry: Any) -> str:
    told = TracedEntry(what=entry.what, at=entry.at, number=entry.number, text=entry.text, by=entry.by)
    before = f"\n{pretty(entry.text.encode())}" if entry.what == "edited" and entry.text else ""
    return f"{moment(entry.at)}  {happened(told)}{before}"


def _block(text: str) -> SafeString:
    return format_html('<pre style="margin: 0; white-space: pre-wrap">{}</pre>', text)
