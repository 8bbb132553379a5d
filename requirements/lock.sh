#!/usr/bin/env bash
# Writes the hash-locked requirements files anew. Needs uv. No index host is written into them.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
  uv pip compile --universal --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet "$@"
}
compile() { lock pyproject.toml --group dev --extra up --extra async "$@"; }
# The base: Django 5.2 LTS on every supported Python.
compile --python-version 3.11 --constraints <(echo 'django<6') --output-file requirements/dev.txt
# The second leg of the test matrix: Django 6.1, which needs Python 3.12.
compile --python-version 3.12 --constraints <(echo 'django>=6.1') --output-file requirements/django61.txt
# What images of the shop hold: the versions that are tested, without tools and servers.
lock pyproject.toml --group shop --extra service --extra rabbitmq --python-version 3.11 --constraints requirements/dev.txt \
  --output-file requirements/production.txt
# What Bandstand's own wheel is built with.
lock --group build --python-version 3.11 --constraints requirements/dev.txt --output-file requirements/build.txt
