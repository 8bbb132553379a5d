"""``python -m bandstand.cli``: the same as ``bandstand``."""

from bandstand.cli import main

if __name__ == "__main__":
    main()
