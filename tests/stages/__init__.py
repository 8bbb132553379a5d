"""Runs the test suite in stages and reports on the whole: ``python -m tests.stages unit shop``.

- ``definition``: the stages and their pytest commands
- ``runner``: runs stages, and runs failed tests once more
- ``load``: keeps the machine busy meanwhile, if that is wanted
- ``results``: reads the result of each test from pytest's report log
- ``summary``: what is printed at the end
"""
