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
  awk '{sum += $1} END {printf "before: %.1f MiB resident\n", sum / 1024}' "$1"
  awk '{sum += $1} END {printf "after:  %.1f MiB resident\n", sum / 1024}' "$2"
  # Of the same sizes as often as before: the same things.
  awk 'NR == FNR {before[$2]++; next} before[$2]-- <= 0 && $1 >= 256 {printf "new: %8d KiB resident, mapping of %8d KiB\n", $1, $2; sum += $1}
    END {printf "new mappings of 256 KiB or more: %.1f MiB resident\n", sum / 1024}' "$1" "$2"
}

case ${1:-} in
  list) list "$2" ;;
  compare) compare "$2" "$3" ;;
  *) sed -n '3,5s/^# //p' "$0" >&2; exit 2 ;;
esac
