# tesnap in a container: any user id but root, nothing written but the store. The base image has a shell;
# nothing here uses it, and pip is taken away.
#   build:  docker build -t tesnap .
#   run:    docker run --rm --read-only --user "$(id -u):$(id -g)" -v "$PWD/jobs:/jobs:ro" \
#               -v "$PWD/token:/run/secrets/te/token:ro" -v tesnap-store:/var/lib/tesnap tesnap
#           with `token_file: /run/secrets/te/token` in the job files of the folder jobs; with this user id the
#           token can be readable by you alone.
# What each step does can be watched without an engine: make container-steps

FROM python:3.13-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
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
# A folder that any user id may write; a volume mounted here brings its own permissions. It stands in a tree of
# its own because COPY copies what is in a folder and not the folder: copied by itself it would lose its mode.
RUN ["install", "-d", "-m", "1777", "/opt/image/var/lib/tesnap"]

FROM python:3.13-slim
RUN ["python", "-m", "pip", "uninstall", "--yes", "pip"]
COPY --from=builder /opt/tesnap /opt/tesnap
COPY --from=builder /opt/image/ /
ENV PATH=/opt/tesnap/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/tesnap \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TESNAP_STORE=sqlite:////var/lib/tesnap/tesnap.db
VOLUME /var/lib/tesnap
WORKDIR /var/lib/tesnap
USER 65532:65532
# The exec form: SIGTERM reaches the program itself.
ENTRYPOINT ["tesnap"]
CMD ["run", "/jobs"]
