"""An app for copies of the shop's services: a handler without any protection of its own, as people write them.

The shop's handlers bear repetition by their own tables. This one writes a row each time it runs, so its rows show
whether Bandstand hands over each event exactly once.
"""
