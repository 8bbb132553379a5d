#!/usr/bin/env bash
# Writes the hash-locked requirements files anew. Needs uv. No index host is written into them.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  uv pip compile pyproject.toml --group dev --extra up --extra async --universal --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet "$@"
}
# The base: Django 5.2 LTS on every supported Python.
compile --python-version 3.11 --constraints <(echo 'django<6') --output-file requirements/dev.txt
# The second leg of the test matrix: Django 6.1, which needs Python 3.12.
compile --python-version 3.12 --constraints <(echo 'django>=6.1') --output-file requirements/django61.txt
