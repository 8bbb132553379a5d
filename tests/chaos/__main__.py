"""`python -m tests.chaos`: the run as a command. `make chaos` is short for it."""

import argparse
import os
import secrets
import sys

from bandstand.workspace.runtime import remove_libpq_variables
from tests.chaos.rig import TEETH, Run, Verdict, run
from tests.chaos.schedule import BROKERS

FAULTS_SHOWN = 40


def main() -> int:
    """Run once; return 0 where each zero is a zero and no answer was wrong, 1 where not."""
    remove_libpq_variables(os.environ)  # its databases are reached by their URLs alone
    arguments = _parser().parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    again = f"make chaos SECONDS={arguments.seconds:g} SEED={seed} BROKER={arguments.broker}"
    _say(f"seed {seed}; to repeat: {again}{f' TOOTH={arguments.tooth}' if arguments.tooth else ''}")
    order = Run(
        seed=seed, seconds=arguments.seconds, rate=arguments.rate, broker=arguments.broker, tooth=arguments.tooth
    )
    verdict = run(order, _say)
    _report(verdict)
    return 0 if verdict.good else 1


def _report(verdict: Verdict) -> None:
    for fault in verdict.ledger.faults[:FAULTS_SHOWN]:
        _say(fault)
    if (more := len(verdict.ledger.faults) - FAULTS_SHOWN) > 0:
        _say(f"and {more} more")
    if verdict.open:
        _say(f"still on its way: {verdict.open}")
    for refusal, times in verdict.refusals.items():
        _say(f"refused {times} times: {refusal}")
    _say("killed: " + ", ".join(f"{name} {times}" for name, times in sorted(verdict.killed.items())))
    trials = ", ".join(f"{name} {times}" for name, times in sorted(verdict.trials.items()))
    _say(f"fell at named points: {verdict.fallen}; other faults: {trials}")
    _say(f"longest time without an answer 2xx: {verdict.silence:.1f} s; drained in {verdict.drained:.1f} s")
    if verdict.shed:
        _say(f"{verdict.shed} intents were not begun, as too many clients waited")
    _say(str(verdict.ledger))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Kill the shop while it sells, and count."
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to kill (120)")
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat it")
    parser.add_argument("--rate", type=float, default=8.0, help="registrations and orders a second (8)")
    parser.add_argument("--broker", default="nats", choices=BROKERS)
    parser.add_argument("--tooth", default="", choices=("", *TEETH), help="switch this protection off, and see it fail")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
