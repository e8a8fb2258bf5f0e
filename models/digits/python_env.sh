#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Unpacks Debian's scikit-learn into a folder instead of installing it (README.md says why):
#   models/digits/python_env.sh [FOLDER, default build/python]
# It prints the two environment variables that make /usr/bin/python3 find it.
set -eu

folder=${1:-build/python}
packages="python3-sklearn python3-sklearn-lib python3-scipy python3-joblib python3-threadpoolctl
          python3-decorator liblbfgsb0"

mkdir -p "$folder/archives"
folder=$(cd "$folder" && pwd)
cd "$folder/archives"
# apt downloads as user _apt, which may not write here; it then warns and downloads as root.
# shellcheck disable=SC2086
apt-get download $packages >&2
for archive in *.deb; do
  dpkg -x "$archive" "$folder"
done

library_path=$(dirname "$(find "$folder/usr/lib" -name 'liblbfgsb.so.0' | head -n 1)")
echo "export PYTHONPATH=$folder/usr/lib/python3/dist-packages"
echo "export LD_LIBRARY_PATH=$library_path"
