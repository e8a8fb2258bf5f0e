#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a process holds more than it, or another one, did before:
#   bench/added_memory.sh list PID >before     its private mappings
#   bench/added_memory.sh compare BEFORE AFTER what is resident in each, and the mappings of 256 KiB or more that came
set -euo pipefail

# Resident KiB and size of each private mapping.
list() {
  awk '/^[0-9a-f]+-[0-9a-f]+ /{private = $2 ~ /p$/} /^Size:/{size = $2} /^Rss:/{if (private && $2 > 0) print $2, size}' "/proc/$1/smaps" | sort -n
}

compare() {
  awk 'NR == FNR {before += $1; next} {after += $1} END {printf "resident: %.1f MiB, then %.1f MiB: %.1f MiB more\n",
    before / 1024, after / 1024, (after - before) / 1024}' "$1" "$2"
  # A hint at what that is: as many of the same size as before are taken for the same things. The kernel merges neighbours.
  awk 'NR == FNR {before[$2]++; next} before[$2]-- <= 0 && $1 >= 256 {printf "new: %8d KiB resident, mapping of %8d KiB\n", $1, $2}' "$1" "$2"
}

case ${1:-} in
  list) list "$2" ;;
  compare) compare "$2" "$3" ;;
  *) sed -n '3,5s/^# //p' "$0" >&2; exit 2 ;;
esac
