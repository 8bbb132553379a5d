"""One Dockerfile for all services: ``--build-arg SERVICE=user-service`` says whose image it makes."""

import json
import posixpath
from collections.abc import Iterable, Iterator
from os.path import relpath
from pathlib import PurePosixPath
from typing import Final

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export.deployment import USER_ID, WEB_PORT, probe_command, web_command
from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.manifest import Image, Service, Workspace

__all__ = ["render_dockerfile"]

_KIND: Final = "dockerfile"

_IGNORED: Final = """\
# What the build must not see: what it does not need, and what no image may hold.
.git
**/.venv*
**/.bandstand
**/__pycache__
**/*.py[cod]
**/.mypy_cache
**/.ruff_cache
**/.pytest_cache
**/.hypothesis
**/.env*
**/secrets
**/*.sqlite3
**/tests
**/node_modules
deploy
"""

_BEGIN: Final = """\
# CONTEXT is the folder {context}, seen from the one with bandstand.toml. It needs BuildKit, Docker's default.
#
#   docker build -f Dockerfile --build-arg SERVICE={example} -t {image} CONTEXT
ARG PYTHON_IMAGE={python}
ARG SERVICE

"""

_PACKAGES: Final = """\
# --- wheels of our own packages ---------------------------------------------------------------
FROM ${{PYTHON_IMAGE}} AS wheels
WORKDIR /build
COPY {build_requirements} /tmp/build.txt
RUN --mount=type=cache,target=/root/.cache/pip \\
    python -m venv /opt/build && \\
    /opt/build/bin/pip install --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/build.txt
{builds}

"""

_ENVIRONMENT: Final = """\
# --- everything that is installed, without pip -------------------------------------------------
FROM ${{PYTHON_IMAGE}} AS environment
COPY {requirements} /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \\
    python -m venv --without-pip /opt/venv && \\
    pip --python /opt/venv/bin/python install --disable-pip-version-check --require-hashes --only-binary :all: \\
    -r /tmp/requirements.txt
"""

_OWN_WHEELS: Final = """\
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \\
    pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl
"""

_RUNTIME: Final = """
# --- what every service runs on -----------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
ENV PATH="/opt/venv/bin:$PATH" \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1
COPY --from=environment /opt/venv /opt/venv
WORKDIR /srv

"""

_SERVICE: Final = """\
FROM runtime AS {name}
LABEL org.opencontainers.image.title="{name}" \\
      org.opencontainers.image.version="{tag}"
ENV DJANGO_SETTINGS_MODULE={settings} \\
    {service_variable}={name} \\
    {platform_variable}={platform}
COPY {folder} ./
CMD {command}

"""

_END: Final = """\
# --- the image -----------------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${{SERVICE}} AS service
RUN python -m compileall -q .
# A number, so that Kubernetes can tell that it is not root. Nothing in the image is this user's to write.
USER {user}:{user}
EXPOSE {port}
# The web process turns unready, drains and ends; a worker finishes what it handles. Migrations are a job of their own.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \\
    CMD {probe}
"""


def render_dockerfile(workspace: Workspace) -> Iterator[File]:
    """Yield the Dockerfile and what it must not see.

    Raises:
        WorkspaceError: the folder of a service lies outside of the folder that is built from.
    """
    image = workspace.production.image
    text = "".join(_parts(workspace, image))
    yield File(path=PurePosixPath("Dockerfile"), content=heading(_KIND) + text)
    yield File(path=PurePosixPath("Dockerfile.dockerignore"), content=heading(_KIND) + _IGNORED)


def _parts(workspace: Workspace, image: Image) -> Iterator[str]:
    yield _begin(workspace, image)
    if image.packages:
        builds = "\n".join(_builds(image.packages))
        yield _PACKAGES.format(build_requirements=image.build_requirements, builds=builds)
    yield _ENVIRONMENT.format(requirements=image.requirements)
    if image.packages:
        yield _OWN_WHEELS
    yield _RUNTIME
    yield from (_service(workspace, service, image) for service in workspace.services)
    yield _END.format(user=USER_ID, port=WEB_PORT, probe=json.dumps(probe_command(WEB_PORT)))


def _begin(workspace: Workspace, image: Image) -> str:
    example = workspace.services[0].name
    python = workspace.production.images.python
    return _BEGIN.format(context=image.context, example=example, image=image.name(example), python=python)


def _builds(packages: Iterable[str]) -> Iterator[str]:
    for index, folder in enumerate(packages):
        yield f"COPY {folder} ./package-{index}"
        yield (
            "RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation \\\n"
            f"    --wheel-dir /wheels ./package-{index}"
        )


def _service(workspace: Workspace, service: Service, image: Image) -> str:
    return _SERVICE.format(
        name=service.name,
        tag=image.tag,
        settings=service.settings_module,
        service_variable=wire.SERVICE,
        platform_variable=wire.PLATFORM,
        platform=workspace.name,
        folder=_folder(workspace, service, image),
        command=json.dumps(web_command(workspace, service)),
    )


def _folder(workspace: Workspace, service: Service, image: Image) -> str:
    """The folder of ``service`` as the build sees it; only names are compared, nothing on the disk."""
    context = workspace.root / image.context
    folder = posixpath.normpath(PurePosixPath(relpath(service.folder, context)))
    if folder == ".." or folder.startswith("../"):
        raise WorkspaceError(
            f"The folder of {service.name} lies outside of {context}, from which its image is built.",
            hint='Write a folder above both as context below [production.image], such as "..".',
        )
    return folder
