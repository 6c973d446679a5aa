#!/bin/sh
# Sees whether the embedded engine's wheel can be loaded with the Python $1. It takes OpenMP's library from the system,
# which a small Debian does not have; where that is all and it can be installed, it is.
set -u
python=$1
why=$("$python" -c 'import xllamacpp' 2>&1) && exit 0
case $why in
  *libgomp*)
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    echo "The embedded engine needs the package libgomp1; installing it ..."
    if command -v apt-get >/dev/null 2>&1 &&
       { $as_root apt-get install -y -qq libgomp1 >/dev/null 2>&1 ||
         { $as_root apt-get update -qq && $as_root apt-get install -y -qq libgomp1; } >/dev/null 2>&1; }; then
      exit 0
    fi
    echo "Could not; going on without the embedded engine. To have it: sudo apt-get install libgomp1" ;;
  *"No module named"*) ;; # said already, when it could not be installed
  *) echo "The embedded engine cannot be loaded here; going on without it: $(echo "$why" | tail -n 1)" ;;
esac
exit 0
