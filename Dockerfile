# tesnap in a container: any user id but root, nothing written but the store. docs/container.md has the rest.
#   build:  docker build -t tesnap .
#   run:    docker run --rm --read-only --user "$(id -u):$(id -g)" --stop-timeout 30 -v "$PWD/jobs:/jobs:ro" \
#               -v "$PWD/token:/run/secrets/te/token:ro" -v tesnap-store:/var/lib/tesnap tesnap
#           with `token_file: /run/secrets/te/token` in the job files of the folder jobs; with this user id the
#           token can be readable by you alone.
# It is built and run in `make container-test`. An index or certificates of your own reach pip as pip's own settings
# do: mount them where pip looks (`--volume /etc/pip.conf:/etc/pip.conf:ro`).

ARG BASE=python:3.13-slim

FROM ${BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN ["python", "-m", "venv", "--without-pip", "/opt/tesnap"]
WORKDIR /src
# The libraries first: they change less often than the program.
COPY requirements.lock ./
RUN ["pip", "--python", "/opt/tesnap/bin/python", "install", "--require-hashes", "-r", "requirements.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator ./orchestrator
RUN ["pip", "--python", "/opt/tesnap/bin/python", "install", "--no-deps", "--no-build-isolation", "."]
# What only the building needed.
RUN ["pip", "--python", "/opt/tesnap/bin/python", "uninstall", "--yes", "setuptools"]
# Byte code that no date can make stale: in a read-only tree each start would compile it anew.
RUN ["python", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", "/opt/tesnap/lib"]
# A folder that any user id may write; a volume mounted here brings its own permissions. It stands in a tree of
# its own because COPY copies what is in a folder and not the folder: copied by itself it would lose its mode.
RUN ["install", "-d", "-m", "1777", "/opt/image/var/lib/tesnap"]

FROM ${BASE}
ARG BASE
RUN ["python", "-m", "pip", "uninstall", "--yes", "--quiet", "--root-user-action", "ignore", "pip"]
# The wheel from which `python -m ensurepip` would bring it back.
RUN ["python", "-c", "import ensurepip, shutil; shutil.rmtree(ensurepip.__path__[0])"]
# The standard library's byte code, which the base image leaves out.
RUN ["python", "-c", "import compileall, py_compile, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), force=True, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"]
COPY --from=builder /opt/tesnap /opt/tesnap
COPY --from=builder /opt/image/ /
ENV PATH=/opt/tesnap/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/tesnap \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TESNAP_STORE=sqlite:////var/lib/tesnap/tesnap.db
LABEL org.opencontainers.image.title="tesnap" \
      org.opencontainers.image.description="ThousandEyes test snapshots in bulk, at the pace the API allows" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
VOLUME /var/lib/tesnap
WORKDIR /var/lib/tesnap
USER 65532:65532
# 20 s to let what is being sent finish, and time to write everything down: `docker run --stop-timeout 30`.
STOPSIGNAL SIGTERM
# The exec form: SIGTERM reaches the program itself.
ENTRYPOINT ["tesnap"]
CMD ["run", "/jobs"]
