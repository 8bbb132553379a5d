import pytest

from bandstand.events import Event
from bandstand.exceptions import ConfigurationError


def test_an_event_is_a_frozen_value_made_by_names() -> None:
    """An event is made with keywords, compared by value, and can't be changed."""

    class Paid(Event, type="order.paid", version=2):
        order_id: str

    event = Paid(order_id="1")
    assert event == Paid(order_id="1")
    assert (Paid.__event_type__, Paid.__event_version__) == ("order.paid", 2)
    with pytest.raises(AttributeError):
        event.order_id = "2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Paid("1")  # type: ignore[misc]


def test_fields_may_have_the_names_of_attributes() -> None:
    """An event may have fields called type and version; they are not the event's own."""

    class Released(Event, type="app.released", version=3):
        version: str
        type: str

    event = Released(version="1.2", type="beta")
    assert (event.version, event.type, event.__event_version__) == ("1.2", "beta", 3)


@pytest.mark.parametrize(
    "name", ["created", "User.Created", "user..created", "user.created.", "user created", "a." + "b" * 99]
)
def test_a_type_is_words_joined_by_dots(name: str) -> None:
    """A type that a broker or a column could not hold is refused where it is declared."""
    with pytest.raises(ConfigurationError, match="lower-case words joined by dots"):
        type("Bad", (Event,), {}, type=name)


def test_versions_begin_with_one() -> None:
    """Version 0 is refused."""
    with pytest.raises(ConfigurationError, match="versions begin with 1"):
        type("Bad", (Event,), {}, type="a.b", version=0)


def test_a_subclass_does_not_inherit_the_type() -> None:
    """A class without a type of its own is only a view."""

    class Base(Event, type="order.paid", version=1):
        order_id: str

    class View(Base):
        pass

    assert View.__event_type__ == ""
