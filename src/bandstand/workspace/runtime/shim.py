"""Prepares a child process for its program and then becomes it; run as a script by the launcher, on Linux.

``python shim.py PARENT SIGNAL ACCOUNT PROGRAM ARGUMENT…``: when the process PARENT dies, this process gets SIGNAL.
ACCOUNT is ``self``, or how a program that refuses to run as root is run by root: ``namespace`` (a user namespace in
which root is called nobody; files stay root's) or ``nobody`` (that account, allowed to look through every folder).
It imports nothing but the standard library, because each process of the platform pays for its start.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CLONE_NEWUSER = 0x10000000
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 2
NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter_namespace() -> None:
    """Run as uid 65534 of a new user namespace, which is root's own uid outside of it."""
    uid, gid = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER))
    # The kernel lets a process map its group only after it gave up setgroups(2).
    for file, line in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{file}", "w") as map_file:  # noqa: PTH123 - pathlib would double the time to start
            map_file.write(line)


def become_nobody() -> None:
    """Become nobody but keep the right to pass through folders, which root's home and state folder deny to others."""
    check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    wanted = 1 << CAP_DAC_READ_SEARCH
    check(libc.capset(header, (ctypes.c_uint32 * 6)(wanted, wanted, wanted, 0, 0, 0)))
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0))


def main(parent: str, signal: str, account: str, *command: str) -> None:
    if account == "namespace":
        enter_namespace()
    elif account == "nobody":
        become_nobody()
    # After the account, because the kernel forgets the signal when credentials change.
    check(libc.prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0))
    if os.getppid() != int(parent):
        sys.exit("The runner ended while this process started.")
    os.execv(command[0], command)  # noqa: S606 - to become that program is what this one is for


if __name__ == "__main__":
    main(*sys.argv[1:])
