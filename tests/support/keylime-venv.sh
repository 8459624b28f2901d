#!/usr/bin/env bash
# keylime-venv.sh [registrar] - makes build/keylime-venv with the Keylime package from PyPI and prints its folder.
# Idempotent. `registrar` adds what the package needs to run its registrar and does not ask for.
#
# Keylime imports the module gpg, which is no wheel but bindings to a system library, and uses it for PGP signatures of
# old allowlists only: a module of that name that can do nothing takes its place, so that nothing has to be compiled.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/build/keylime-venv
version=7.14.3

have() { "$venv/bin/python" -c "import importlib.metadata as m; raise SystemExit(m.version('keylime') != '$version')" 2>/dev/null; }

mkdir -p "$root/build"
exec 9>"$root/build/keylime-venv.lock"
flock 9
if ! have; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 "keylime==$version" >&2
    have
fi
if ! "$venv/bin/python" -c 'import gpg' 2>/dev/null; then
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo 'raise_on_use = True' >"$site/gpg.py"
fi
if [ "${1:-}" = registrar ] && ! "$venv/bin/python" -c 'import alembic' 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 alembic >&2
fi
echo "$venv"
