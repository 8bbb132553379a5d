"""The ledger rig: the whole shop is killed at random while it sells; then everything must add up.

``make chaos`` runs it, and docs/how-to/run-the-chaos-test.md says how to read it. ``schedule`` says who is killed
when, ``load`` is the clients, ``evidence`` reads the databases, ``ledger`` does the accounting, ``rig`` is a run.
"""
