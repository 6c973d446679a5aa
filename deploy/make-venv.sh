#!/bin/sh
# Makes the virtual environment $1 with pip in it, also on a Debian that has python3 but not python3-venv.
set -eu
venv=$1
python=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null 2>&1 &&
     "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "headgate needs Python 3.11 or later, and none was found. Name one: make PYTHON=/path/to/python3.11 …" >&2
  exit 1
fi

echo "Making the virtual environment $venv with $python ..."
if "$python" -c 'import ensurepip' 2>/dev/null; then
  exec "$python" -m venv "$venv"
fi

# Debian keeps ensurepip in a package of its own.
as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null 2>&1 && as_root="sudo"
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if command -v apt-get >/dev/null 2>&1 && { [ "$(id -u)" = 0 ] || [ -n "$as_root" ]; } &&
   echo "This Python cannot make a virtual environment with pip in it; installing python$version-venv ..." &&
   { $as_root apt-get install -y -qq "python$version-venv" >/dev/null 2>&1 ||
     { $as_root apt-get update -qq && $as_root apt-get install -y -qq "python$version-venv" >/dev/null; }; }; then
  exec "$python" -m venv "$venv"
fi
if "$python" -m pip --version >/dev/null 2>&1; then
  "$python" -m pip install --quiet --target .bootstrap virtualenv
  PYTHONPATH=.bootstrap exec "$python" -m virtualenv --quiet "$venv"
fi
echo "This Python cannot make a virtual environment with pip in it. Please run: apt-get install python$version-venv" >&2
exit 1
