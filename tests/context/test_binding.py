import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bandstand.context import Context, bind, bound, carry, current, new_context, update


def context(name: str) -> Context:
    return new_context(correlation_id=f"context-{name}")


def in_thread(work: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result()


def test_what_is_bound_is_current() -> None:
    """Inside the block the bound context is current, after it none is."""
    mine = context("mine")
    with bind(mine) as given:
        assert given is current() is bound() is mine
    assert bound() is None


def test_unbound_work_is_a_root_of_its_own() -> None:
    """Where nothing is bound, each ask begins a new trace."""
    assert current() != current()


def test_blocks_nest() -> None:
    """An inner block does not outlive itself."""
    with bind(context("outer")):
        with bind(context("inner")):
            assert current().correlation_id == "context-inner"
        assert current().correlation_id == "context-outer"


def test_an_exception_unbinds() -> None:
    """A block that raises leaves nothing behind."""
    with pytest.raises(ZeroDivisionError), bind(context("mine")):
        _ = 1 / 0
    assert bound() is None


def test_an_update_lasts_until_the_block_ends() -> None:
    """What becomes known on the way is seen by all later code of the same block, and only there."""
    outer = context("outer")
    with bind(outer):
        with bind(outer.child()):
            update(user="u1")
            update(service="order-service")
            assert (current().user, current().service) == ("u1", "order-service")
        assert current() is outer
        assert outer.user is None
    assert update(user="u2").user == "u2"
    assert bound() is None


def test_an_update_of_no_field_is_refused() -> None:
    """A misspelled field is an error."""
    with bind(context("mine")), pytest.raises(TypeError):
        update(usr="u1")


def test_threads_do_not_see_each_other() -> None:
    """Of eight threads that bind at the same time, each sees its own context alone."""
    together = threading.Barrier(8)

    def work(number: int) -> list[str]:
        assert bound() is None
        seen = []
        with bind(context(f"t{number}")):
            for _ in range(50):
                together.wait(timeout=10)
                seen.append(current().correlation_id)
        assert bound() is None
        return seen

    with ThreadPoolExecutor(8) as executor:
        for number, seen in enumerate(executor.map(work, range(8))):
            assert set(seen) == {f"context-t{number}"}


def test_tasks_do_not_see_each_other() -> None:
    """Of eight asyncio tasks on one thread, each sees its own context alone, at each point where it waits."""

    async def work(number: int) -> set[str]:
        seen = set()
        with bind(context(f"a{number}")):
            for _ in range(20):
                await asyncio.sleep(0)
                update(user=str(number))
                await asyncio.sleep(0)
                seen.add(f"{current().correlation_id} {current().user}")
        assert bound() is None
        return seen

    async def main() -> list[set[str]]:
        return await asyncio.gather(*(work(number) for number in range(8)))

    assert asyncio.run(main()) == [{f"context-a{number} {number}"} for number in range(8)]


def test_a_task_begins_with_the_context_of_its_maker() -> None:
    """What a request starts belongs to the request; what the task binds stays with the task."""

    async def child() -> str:
        mine = current().correlation_id
        update(user="only here")
        return mine

    async def main() -> None:
        with bind(context("maker")):
            assert await asyncio.create_task(child()) == "context-maker"
            assert current().user is None

    asyncio.run(main())


def test_a_thread_begins_without_a_context() -> None:
    """Without carry() nothing reaches a thread: the reason for carry()."""
    with bind(context("mine")):
        assert in_thread(bound) is None


def test_carry_takes_the_context_along() -> None:
    """A carried function runs with the context of the moment of carry(), and leaves the thread clean."""
    with bind(context("mine")):
        carried = carry(current)
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(carried).result().correlation_id == "context-mine"
        assert executor.submit(bound).result() is None


def test_a_carried_function_may_run_many_times_at_once() -> None:
    """Threads that run the same carried function do not disturb each other."""
    together = threading.Barrier(4)

    def work() -> str:
        together.wait(timeout=10)
        return current().correlation_id

    with bind(context("mine")), ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(carry(work)) for _ in range(4)]
        assert {future.result() for future in futures} == {"context-mine"}


def test_coroutine_functions_are_carried() -> None:
    """A carried coroutine runs with the context in an event loop of another thread."""

    async def work(argument: str) -> str:
        await asyncio.sleep(0)
        return f"{argument} {current().correlation_id}"

    with bind(context("mine")):
        carried = carry(work)
    assert in_thread(lambda: asyncio.run(carried("got"))) == "got context-mine"
    assert carried.__name__ == "work"
