#!/bin/sh
# Make .venv hold exactly requirements.lock, each file checked by its hash, and the project itself (editable).
# Needs Python 3.11 or newer and nothing else. `make` runs it when the lock has changed: install.sh PYTHON
set -eu
cd "$(dirname "$0")/../.."
python=${1:-}
venv=.venv

fail() {
    printf '%s\n' "" "$@" >&2
    exit 1
}

[ -n "$python" ] && "$python" -c '' 2>/dev/null || fail \
    "No Python was found. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
    "$("$python" --version) is too old: the shop needs 3.11 or newer. If you have one, name it: make PYTHON=python3.11"

# A virtual environment that was moved or lost its Python cannot be repaired, only made again.
if ! "$venv/bin/python" -c '' 2>/dev/null; then
    rm -rf "$venv"
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        fail "Python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"
    }
fi
started=$(date +%s)

# uv installs in seconds what takes pip half a minute, out of the same lock. It does not read pip's settings by itself.
export VIRTUAL_ENV="$PWD/$venv"
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"

if [ ! -x "$venv/bin/uv" ]; then
    echo "installing uv"
    awk '/^[^ #]/ { mine = /^uv==/ } mine' requirements.lock > "$venv/uv.lock"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$venv/uv.lock" \
        || fail "The packages of requirements.lock cannot be downloaded: no network, or a proxy is in the way." \
            "Connect (or set HTTPS_PROXY, PIP_INDEX_URL) and try again; later starts need no network."
fi
echo "installing the packages of requirements.lock"
# Compiled here, because the processes of the first start would all compile the same modules at the same time.
"$venv/bin/uv" pip sync --quiet --compile-bytecode --require-hashes requirements.lock \
    || fail "The packages of requirements.lock cannot be downloaded: no network, or a proxy is in the way." \
        "Connect (or set HTTPS_PROXY, UV_DEFAULT_INDEX) and try again; later starts need no network."
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation --editable .
touch "$venv/.ready"
echo "installed in $(($(date +%s) - started)) s"
