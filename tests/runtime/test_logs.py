"""Log files: bounded, cut into lines, read from the end, followed over a change of files."""

from pathlib import Path

from bandstand.workspace.runtime.logs import LogFile, Logs
from bandstand.workspace.runtime.reading import Follower, last_lines
from tests.limits import full_disk


def test_a_log_is_bounded(tmp_path: Path) -> None:
    """At its limit a file is put aside and a new one begun, so that at most two of that size exist."""
    log = LogFile(tmp_path / "a.log", max_bytes=100)
    for number in range(50):
        log.write(f"line {number:03}\n".encode())
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"a.log", "a.log.1"}
    assert max(sizes.values()) <= 100
    assert (tmp_path / "a.log").read_text().endswith("line 049\n")


def test_pieces_become_lines(tmp_path: Path) -> None:
    """However the pieces are cut, each line is told once and whole; bytes that are no text do not stop it."""
    logs, heard = Logs(), []
    logs.listener = lambda name, line: heard.append((name, line))
    sink = logs.sink("a", tmp_path / "a.log")
    for piece in (b"one\ntw", b"o\n\xff\xfe", b"\r\nrest"):
        sink(piece)
    logs.close()
    assert heard == [("a", "one"), ("a", "two"), ("a", "\ufffd\ufffd")]
    assert (tmp_path / "a.log").read_bytes() == b"one\ntwo\n\xff\xfe\r\nrest"


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    """A process that never ends its line does not fill the memory."""
    logs, heard = Logs(), []
    logs.listener = lambda name, line: heard.append(len(line))
    sink = logs.sink("a", tmp_path / "a.log")
    for _ in range(5):
        sink(b"x" * 40_000)
    logs.close()
    assert heard
    assert max(heard) <= 64 * 1024


def test_each_run_has_its_own_tail(tmp_path: Path) -> None:
    """What an earlier run wrote does not explain the failure of this one."""
    logs = Logs()
    logs.sink("a", tmp_path / "a.log")(b"old\n")
    logs.sink("a", tmp_path / "a.log")(b"new\n")
    logs.close()
    assert logs.tail("a") == ["new"]
    assert (tmp_path / "a.log").read_text() == "old\nnew\n"


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    """Lines that can't be written are dropped, counted and reported once; later the file says how many are missing."""
    logs, heard, said = Logs(), [], []
    logs.listener, logs.report = lambda _, line: heard.append(line), said.append
    sinks = [logs.sink(name, tmp_path / f"{name}.log") for name in "ab"]
    sinks[0](b"one\n")
    with full_disk(room=6):
        for number in range(3):
            for sink in sinks:
                sink(f"more {number}\n".encode())
    assert len(said) == 1
    assert f"{tmp_path}/a.log can't be written: " in said[0]
    for sink in sinks:
        sink(b"last\n")
    logs.close()
    assert said[1:] == ["The logs are written again; each says how many of its lines are missing."]
    assert (tmp_path / "a.log").read_text() == ("one\nmo\n3 lines are missing here: they could not be written.\nlast\n")
    assert heard.count("more 2") == 2
    assert logs.tail("b") == ["more 0", "more 1", "more 2", "last"]


def test_a_disk_without_any_room(tmp_path: Path) -> None:
    """The system's own full device, and a folder that has gone: nothing is raised, and what is lost is counted."""
    for path in (Path("/dev/full"), tmp_path / "gone" / "a.log"):
        log = LogFile(path)
        log.write(b"one\ntwo\nrest")
        log.write(b"three\n")
        assert log.lost == 3
        assert log.failing is not None
        log.close()


def test_last_lines_come_in_the_order_of_time(tmp_path: Path) -> None:
    """Lines of many files are one log; what has no time stays behind the line before it."""
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text('{"ts":"2026-01-01T00:00:01.000Z"}\n  more\n{"ts":"2026-01-01T00:00:03.000Z"}\n')
    two.write_text('{"ts":"2026-01-01T00:00:02.000Z"}\n')
    files = {"one": one, "two": two, "none": tmp_path / "none.log"}
    assert [name for name, _ in last_lines(files, 10)] == ["one", "one", "two", "one"]
    assert [name for name, _ in last_lines(files, 2)] == ["two", "one"]
    assert last_lines(files, 0) == []


def test_the_end_of_a_long_file_is_found(tmp_path: Path) -> None:
    """Only the end is read, also over the border of a block."""
    path = tmp_path / "a.log"
    path.write_text("".join(f"{number:06} {'x' * 90}\n" for number in range(3000)))
    assert [line[:6] for _, line in last_lines({"a": path}, 1500)] == [f"{number:06}" for number in range(1500, 3000)]


def test_a_follower_sees_what_is_added(tmp_path: Path) -> None:
    """From where it began, line by line, half lines when they are whole, and over the change to a new file."""
    path = tmp_path / "a.log"
    path.write_text("old\n")
    follower = Follower(path)
    with path.open("a") as file:
        file.write("one\ntw")
    assert list(follower.lines()) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    path.rename(tmp_path / "a.log.1")
    path.write_text("three\n")
    assert list(follower.lines()) == ["two", "three"]
    follower.close()


def test_a_follower_waits_for_a_file(tmp_path: Path) -> None:
    """A log that does not exist yet is followed once it does."""
    follower = Follower(tmp_path / "a.log")
    assert list(follower.lines()) == []
    (tmp_path / "a.log").write_text("one\n")
    assert list(follower.lines()) == ["one"]
    follower.close()
