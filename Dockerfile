# tesnap in a container: no shell, no root, nothing written but the store.
#   build:  docker build -t tesnap .
#   run:    docker run --rm --read-only --user 65532 -v jobs:/jobs:ro -v store:/var/lib/tesnap tesnap
# What each step does can be watched without an engine: make container-steps

FROM python:3.13-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN ["python", "-m", "venv", "/opt/tesnap"]
WORKDIR /src
# The libraries first: they change less often than the program.
COPY requirements.lock ./
RUN ["/opt/tesnap/bin/pip", "install", "--require-hashes", "-r", "requirements.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator ./orchestrator
RUN ["/opt/tesnap/bin/pip", "install", "--no-deps", "--no-build-isolation", "."]
# A folder that any user id may write; a volume mounted here brings its own permissions.
RUN ["install", "-d", "-m", "1777", "/opt/store"]

FROM python:3.13-slim
COPY --from=builder /opt/tesnap /opt/tesnap
COPY --from=builder /opt/store /var/lib/tesnap
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
