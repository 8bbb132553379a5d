import fcntl
import os
from pathlib import Path

import pytest

from bandstand.discovery.crew import Crew, lock_folder


def crews(folder: Path, number: int) -> list[Crew]:
    return [Crew("user-service-8000", folder) for _ in range(number)]


def test_one_leads(tmp_path: Path) -> None:
    """Of all processes that serve an address one leads, for as long as it wants to."""
    one, other = crews(tmp_path, 2)
    assert one.leads()
    assert not other.leads()
    assert one.leads()


def test_another_leads_when_the_first_is_gone(tmp_path: Path) -> None:
    """Leaving and dying (which closes the files) both free the place of the leader."""
    one, other, third = crews(tmp_path, 3)
    assert one.leads()
    one.leave()
    assert other.leads()
    other.close()
    assert third.leads()


def test_the_last_knows_that_it_is_the_last(tmp_path: Path) -> None:
    """Only the last process that leaves takes the instance out, whoever led and whoever died before."""
    one, other, third = crews(tmp_path, 3)
    assert one.leads()
    assert not one.leave()
    other.close()  # killed
    assert third.leave()


def test_who_left_knows_whether_others_stay(tmp_path: Path) -> None:
    """Whoever has not left does, also while nobody leads; asking takes nothing from anybody."""
    one, other, third = crews(tmp_path, 3)
    assert one.leads()
    assert not one.leave()
    assert one.others_stay()
    assert other.leads()
    assert not other.leave()
    assert one.others_stay()
    third.close()  # killed
    assert not one.others_stay()
    assert not other.others_stay()
    (newcomer,) = crews(tmp_path, 1)
    assert one.others_stay()
    assert newcomer.leave()
    for file in one._files or ():  # as another thread does that ends the process just now
        os.close(file)
    assert not one.others_stay()
    one._files = None
    assert not one.others_stay()


def test_the_last_one_is_not_taken_in_by_one_who_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has left holds the lock for a moment in order to look; the last one tries again."""
    one, other = crews(tmp_path, 2)
    assert not one.leave()
    assert one._files is not None
    fcntl.flock(other._files[0], fcntl.LOCK_UN)  # type: ignore[index]
    fcntl.flock(one._files[0], fcntl.LOCK_EX)  # it looks just now
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            fcntl.flock(one._files[0], fcntl.LOCK_UN)  # type: ignore[index]

    monkeypatch.setattr("bandstand.discovery.crew.time.sleep", pause)
    assert other.leave()
    assert len(pauses) == 2


def test_other_addresses_do_not_matter(tmp_path: Path) -> None:
    """Each address has a crew of its own."""
    one, other = Crew("a-8000", tmp_path), Crew("a-8001", tmp_path)
    assert one.leads()
    assert other.leads()
    assert one.leave()


def test_without_a_folder_each_is_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no lock can be had a process registers all the same, and says so."""
    one, other = crews(tmp_path / "absent", 2)
    assert one.leads()
    assert other.leads()
    assert one.leave()
    assert "No lock" in caplog.text


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # what the child does is safe
def test_a_forked_child_takes_nothing_along(tmp_path: Path) -> None:
    """A child that lets go of the files leaves the parent's place as it is."""
    (one,) = crews(tmp_path, 1)
    assert one.leads()
    child = os.fork()
    if child == 0:
        one.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (other,) = crews(tmp_path, 1)
    assert not other.leads()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others may write into, or a link, is not where locks are kept."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = lock_folder()
    assert folder.parent == tmp_path
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        lock_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        lock_folder()
