#!/bin/sh
# Make .venv hold exactly requirements.lock, each file checked by its hash, and the project itself (editable).
# Needs Python 3.11 or newer and nothing else. `make` runs it when the lock has changed: install.sh [PYTHON]
set -eu
cd "$(dirname "$0")/../.."
python=${1:-}
venv=.venv

fail() {
    printf '%s\n' "" "$@" >&2
    exit 1
}

# New enough, can make a virtual environment, and has the shared libpython that the fast door is run with. (A build
# without one names its libpython.a there.)
suits() {
    "$1" -c '
import ensurepip, os, sys, sysconfig, venv
folder, name = sysconfig.get_config_vars("LIBDIR", "INSTSONAME")
sys.exit(sys.version_info < (3, 11) or ".so" not in name or not os.path.exists(os.path.join(folder, name)))
' 2>/dev/null
}

describe() {
    "$1" -c 'import os, sys; print(os.path.realpath(sys.executable), f"({sys.version.split()[0]})")'
}

# The distribution's comes first: it is built with PGO and LTO. What pyenv or a plain `./configure && make` builds is
# not: the fast door then takes 17 µs a call instead of 14.
if [ -z "$python" ]; then
    for candidate in /usr/bin/python3.11 python3.11 python3; do
        if suits "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || python=$(command -v python3.11 || command -v python3 || true)
fi

[ -n "$python" ] && "$python" -c '' 2>/dev/null || fail \
    "No Python was found. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
    "$("$python" --version) is too old: the shop needs 3.11 or newer. If you have one, name it: make PYTHON=python3.11"
found=$(describe "$python")

# A virtual environment that was moved or lost its Python cannot be repaired, only made again. One that works keeps its
# Python: shops and tests may be running from it.
if ! kept=$(describe "$venv/bin/python" 2>/dev/null); then
    echo "using $found"
    rm -rf "$venv"
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        fail "Python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"
    }
elif [ "$kept" != "$found" ]; then
    echo "keeping $venv, which uses $kept; to have it use $found: rm -r $venv"
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
