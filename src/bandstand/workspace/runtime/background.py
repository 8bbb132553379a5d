"""A runner in the background: started by `bandstand up --detach`, which follows it through a pipe until it is ready."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bandstand.exceptions import BandstandError, StartInterrupted
from bandstand.workspace.manifest import Workspace, load
from bandstand.workspace.runtime.folder import StateFolder, file_hint
from bandstand.workspace.runtime.logs import LogFile
from bandstand.workspace.runtime.reports import Failed, Output, Ready, Report, decode, encode
from bandstand.workspace.runtime.runner import run_platform

__all__ = ["Background", "main", "start_in_background"]


_REPORT: Final = "The traceback is in .bandstand/logs/runner.log; please report it."


class Background:
    """A runner that was started in the background."""

    def __init__(self, process: subprocess.Popen[bytes], reports: int) -> None:
        self._process = process
        self._reports = reports

    def follow(self) -> Iterator[Report]:
        """Yield what it reports until it is ready or has failed; then it needs nobody any more."""
        with os.fdopen(self._reports, "rb") as pipe:
            for line in pipe:
                report = decode(line)
                if isinstance(report, Failed):
                    self._process.wait()  # so that nothing is left when the message is read
                yield report
                if isinstance(report, Ready | Failed):
                    return

    def stop(self) -> None:
        """Stop it, and wait until everything has ended; each Ctrl-C meanwhile asks it to hurry more."""
        before = signal.signal(signal.SIGINT, lambda *_: self._process.terminate())
        try:
            self._process.terminate()
            self._process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def start_in_background(workspace: Workspace, manifest: Path) -> Background:
    """Start a runner in a session of its own. Its output goes to ``.bandstand/logs/runner.log``."""
    folder = StateFolder(workspace.state_folder)
    folder.prepare()
    read, write = os.pipe()
    with folder.log("runner").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bandstand.workspace.runtime", str(manifest), str(write)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[write],
            start_new_session=True,
        )
    os.close(write)
    return Background(process, read)


def main(manifest: str, descriptor: str) -> int:
    """The runner in the background itself; reports go to the file descriptor until nobody reads them any more."""
    reporter = _PipeReporter(int(descriptor))
    try:
        workspace = load(Path(manifest))
        reporter.log = LogFile(StateFolder(workspace.state_folder).log("runner"))
        run_platform(workspace, Path(manifest), reporter)
    except StartInterrupted as error:
        reporter(Failed(code=error.code, message="The platform was stopped while it started."))
        return error.status
    except BandstandError as error:
        hint = getattr(error, "hint", "")
        message = str(getattr(error, "message", error))
        reporter(Failed(code=error.code, message=message, hint=hint))
        return 1
    except OSError as error:
        reporter(_file_failure(error) if error.filename is not None else _fault(error))
        raise  # the log has the traceback
    except Exception as error:
        reporter(_fault(error))
        raise  # the log has the traceback
    return 0


def _file_failure(error: OSError) -> Failed:
    message = f"{error.filename} can't be used: {error.strerror}."
    return Failed(code="file_error", message=message, hint=file_hint(error))


def _fault(error: Exception) -> Failed:
    return Failed(code="internal_error", message=f"A fault of the runner itself: {error!r}", hint=_REPORT)


class _PipeReporter:
    """Writes reports to whoever waits, and to the runner's log; what processes write is in their own logs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self.log: LogFile | None = None

    def __call__(self, report: Report) -> None:
        if isinstance(report, Output):
            return
        line = encode(report)
        if self.log is not None:
            self.log.write(line)
        if self._descriptor is not None:
            self._tell(self._descriptor, line, last=isinstance(report, Ready | Failed))

    def _tell(self, descriptor: int, line: bytes, *, last: bool) -> None:
        try:
            os.write(descriptor, line)
        except BrokenPipeError:
            last = True  # whoever waited has gone; the platform runs on
        if last:
            os.close(descriptor)
            self._descriptor = None
