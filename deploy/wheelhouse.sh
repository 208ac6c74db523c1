#!/usr/bin/env bash
# Makes a folder that holds all that a machine without a network needs: every wheel of deploy/requirements.lock, each
# checked against its hash, the lock itself, the firewall, and the source of the last commit. About 3 GB, most of it
# CUDA.
#
#   deploy/wheelhouse.sh wheelhouse
#
# Run it with the same version of Python, and on the same kind of system, as the machines that will install from it;
# PYTHON names another interpreter than `python3`. It prints what to type there.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: deploy/wheelhouse.sh FOLDER" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lock="$root/deploy/requirements.lock"
python=${PYTHON:-python3}
mkdir -p "$1"
folder=$(cd "$1" && pwd)

"$python" -m pip download --quiet --require-hashes --only-binary=:all: --no-deps --dest "$folder" --requirement "$lock"
cp "$lock" "$root/deploy/firewall.nft" "$folder/"
git -C "$root" archive --format=tar.gz --prefix=dfkd/ --output="$folder/dfkd.tar.gz" HEAD

version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')
cat <<TEXT
$folder: $(find "$folder" -name '*.whl' | wc -l) wheels for Python $version on $(uname -sm), $(du -sh "$folder" | cut -f1).
Copy it to the machine, and there:
  tar -xzf wheelhouse/dfkd.tar.gz && python$version -m venv venv && . venv/bin/activate
  pip install --no-index --find-links wheelhouse --require-hashes -r wheelhouse/requirements.lock
  pip install --no-index --no-deps --no-build-isolation -e dfkd
TEXT
