#!/usr/bin/env bash
# The Dockerfile's steps one by one, without a container engine, in a fresh folder:
#   1 an environment from the lock, hashes required   2 the program into it
#   3 the tree made read-only                         4 the program as a numeric user without a name,
#     with no variable but the image's, only the store's folder writable, against a simulator on loopback
#   5 the same run id again: nothing is sent          6 SIGTERM: exit code 5 within 20 s
# Run as root, it takes another user id (setpriv) and a read-only mount (unshare) as a container does;
# as an ordinary user it keeps that user's id and takes away the write permissions.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
uid=${CONTAINER_UID:-65532}
place=$(mktemp -d "${TMPDIR:-/tmp}/container-steps.XXXXXX")
server=
running=
finish() {
    if [ -n "$running" ]; then kill -KILL "$running" 2>/dev/null || true; fi
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    chmod -R u+w "$place" 2>/dev/null || true
    rm -rf "$place"
}
trap finish EXIT
chmod 755 "$place"
say() { printf '\n== %s\n' "$*"; }
# COPY of a folder: what is in it, with its modes; the folder it goes to is made as root's, 0755.
copy() {
    mkdir -p "$2"
    cp -R --preserve=mode "$1"* "$2"
}

if [ "$(id -u)" = 0 ]; then
    become() { setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"; }
else
    become() { "$@"; }
fi

# The base image's Python: one that the numeric user can run.
for python in "${PYTHON:-python3}" python3.13 /usr/local/bin/python3 /usr/bin/python3; do
    python=$(command -v "$python" || true)
    if [ -n "$python" ] && become "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        break
    fi
    python=
done
if [ -z "$python" ]; then
    echo "no Python 3.11 or newer here that user $uid can run" >&2
    exit 1
fi

# The base image brings a pip; this one stands for it.
"$python" -m venv "$place/base"
pip() { "$place/base/bin/pip" "$@" -qq --disable-pip-version-check; }
export PIP_NO_CACHE_DIR=1

say "1 builder: environment from the lock ($("$python" --version))"
umask 022
"$python" -m venv --without-pip "$place/opt/tesnap"
mkdir "$place/src"
cp "$source/requirements.lock" "$place/src/"
cd "$place/src"
pip --python "$place/opt/tesnap/bin/python" install --require-hashes -r requirements.lock

say "2 builder: the program"
cp -r "$source/pyproject.toml" "$source/README.md" "$source/LICENSE" "$source/orchestrator" "$place/src/"
find "$place/src" -name __pycache__ -prune -exec rm -rf {} +
pip --python "$place/opt/tesnap/bin/python" install --no-deps --no-build-isolation .
pip --python "$place/opt/tesnap/bin/python" uninstall --yes setuptools
"$place/base/bin/python" -m pip uninstall --yes pip -qq --disable-pip-version-check
cd /
rm -rf "$place/src"
install -d -m 1777 "$place/opt/image/var/lib/tesnap"
copy "$place/opt/image/" "$place/"
store=$place/var/lib/tesnap
if [ "$(stat -c %a "$store")" != 1777 ]; then
    echo "the store's folder lost its mode on the way into the image" >&2
    exit 1
fi
if "$place/opt/tesnap/bin/python" -c "import pip" 2>/dev/null; then
    echo "pip is still there" >&2
    exit 1
fi
install -d -m 755 "$place/jobs"
du -sh "$place/opt/tesnap" | sed "s|$place||"

say "3 the tree is read-only, the store is not"
chmod -R a-w "$place/opt" "$place/jobs" "$place/var/lib"
chmod 1777 "$store"
# $0 is the tree: bound read-only where the kernel lets us, the store bound writable over it.
enclose='mount --bind "$0" "$0" && mount --bind "$0/var/lib/tesnap" "$0/var/lib/tesnap" && mount -o remount,bind,ro "$0" && exec "$@"'
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
    within=(unshare --mount bash -c "$enclose" "$place")
    inside=("${within[@]}" setpriv --reuid "$uid" --regid "$uid" --clear-groups)
    # Whoever starts it with `--user` has another id, which has no name in the image either.
    other=("${within[@]}" setpriv --reuid "$((uid + 1))" --regid "$((uid + 1))" --clear-groups)
else
    inside=(env)
    other=(env)
fi
if "${inside[@]}" touch "$place/opt/tesnap/written" 2>/dev/null; then
    echo "the tree can be written" >&2
    exit 1
fi
for as in inside other; do
    declare -n who=$as
    "${who[@]}" touch "$store/written"
    "${who[@]}" rm "$store/written"
    echo "as $("${who[@]}" id -u):$("${who[@]}" id -g): tree refused, store written"
done

# The image's variables and no others. Each program in front of tesnap is exec'd away, so that it is the
# process that was started, as process 1 of a container is.
tesnap=("${inside[@]}" env -i PATH="$place/opt/tesnap/bin:/usr/bin:/bin" HOME="$store"
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
    TESNAP_STORE="sqlite:///$store/tesnap.db" TE_TOKEN=token-1)

address_file=$place/address
touch "$address_file"
"$place/opt/tesnap/bin/python" -m orchestrator.simulator --latency 0.02 --spread 0.01 --tests 20 \
    --max-seconds 300 >"$address_file" &
server=$!
for _ in $(seq 100); do
    if [ -s "$address_file" ]; then break; fi
    sleep 0.1
done
address=$(head -n 1 "$address_file")

# Writes the job file of one run: its name, then the ids of its tests.
job_file() {
    chmod u+w "$place/jobs"
    rm -f "$place/jobs"/*
    cat >"$place/jobs/$1.yaml" <<YAML
version: 1
name: $1
organizations:
  acme: {base_url: "$address", token_env: TE_TOKEN}
jobs:
  - {name: $1, tests: [$2], windows: [{last: 1h}]}
YAML
    chmod a-w "$place/jobs" "$place/jobs/$1.yaml"
}

expect() { # the exit code that is expected, then the one that came
    echo "exit code $2"
    if [ "$1" != "$2" ]; then
        echo "expected $1" >&2
        exit 1
    fi
}

say "4 entry point: tesnap run /jobs, three snapshots against a simulator on loopback"
job_file first '"202701", "202702", "202703"'
code=0
"${tesnap[@]}" TESNAP_RUN_ID=steps-0001 tesnap run "$place/jobs" || code=$?
expect 0 "$code"

say "5 the same run id again, as a replaced pod does: its records, and nothing is sent"
code=0
"${tesnap[@]}" TESNAP_RUN_ID=steps-0001 tesnap run "$place/jobs" || code=$?
expect 0 "$code"

say "6 SIGTERM while six snapshots wait for two slots: exit code 5 within 20 s"
job_file second '"202704", "202705", "202706", "202707", "202708", "202709"'
"${tesnap[@]}" TESNAP_RUN_ID=steps-0002 tesnap run "$place/jobs" &
running=$!
sleep 5
kill -TERM "$running"
for _ in $(seq 200); do
    kill -0 "$running" 2>/dev/null || break
    sleep 0.1
done
if kill -0 "$running" 2>/dev/null; then
    echo "still running 20 s after SIGTERM" >&2
    exit 1
fi
code=0
wait "$running" || code=$?
running=
expect 5 "$code"

say "shown: all six steps"
