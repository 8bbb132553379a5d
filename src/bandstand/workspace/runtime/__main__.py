"""``python -m bandstand.workspace.runtime MANIFEST DESCRIPTOR``: the runner in the background."""

import sys

from bandstand.workspace.runtime.background import main

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
