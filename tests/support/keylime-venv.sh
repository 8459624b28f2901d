#!/usr/bin/env bash
# keylime-venv.sh [registrar] - makes build/keylime-venv with the Keylime package from PyPI and prints its folder.
# Idempotent. `registrar` adds what its registrar needs besides.
#
# Keylime imports the module gpg, which is no wheel but bindings to a system library, and uses it for PGP signatures of
# old allowlists only: a module of that name that can do nothing takes its place, so that nothing has to be compiled.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/build/keylime-venv
wanted=$(dirname "${BASH_SOURCE[0]}")/keylime-requirements.txt

mkdir -p "$root/build"
exec 9>"$root/build/keylime-venv.lock"
flock 9
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 -r "$wanted" >&2
    cp "$wanted" "$venv/requirements.txt"
fi
if ! "$venv/bin/python" -c 'import gpg' 2>/dev/null; then
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo 'raise_on_use = True' >"$site/gpg.py"
fi
if [ "${1:-}" = registrar ] && ! "$venv/bin/python" -c 'import alembic' 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 alembic >&2
fi
echo "$venv"
