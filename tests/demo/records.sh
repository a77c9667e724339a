#!/bin/sh
# Prints one tab-separated record (COPY's text format) per package that the machine's package manager knows; made-up records where there is none.
# On standard error, where the records come from.
set -eu

real() {
	apt-cache dumpavail 2>/dev/null | awk '
		BEGIN { RS = ""; FS = "\n"; n = split("Package Version Maintainer Section Installed-Size Homepage Depends Tag Description", want, " ") }
		{
			split("", v)
			for (i = 1; i <= NF; i++) {
				line = $i
				if (line ~ /^[ \t]/) { v[last] = v[last] " " substr(line, 2); continue }
				colon = index(line, ": ")
				if (colon == 0) continue
				last = substr(line, 1, colon - 1)
				v[last] = substr(line, colon + 2)
			}
			row = ""
			for (i = 1; i <= n; i++) {
				x = (want[i] in v) ? v[want[i]] : "\\N"
				if (x != "\\N") { gsub(/\\/, "\\\\", x); gsub(/\t/, "\\t", x) }
				row = row (i > 1 ? "\t" : "") x
			}
			print row
		}'
}

made_up() {
	awk 'BEGIN {
		for (i = 1; i <= 60000; i++) {
			name = (i % 7919 == 0) ? "\"Team " i % 97 "\"" : (i % 6007 == 0) ? "The quite long-named maintainers of things number " i : "Maintainer " i % 1999
			addr = "m" i % 1999 "@example.org>" ((i % 9973 == 0) ? "," : "")
			printf "package-%d\t%d.%d-1\t%s <%s\tmisc\t%d\thttps://example.org/%d\tlibc6 (>= 2.%d), lib%d\trole::program, use::thing%d\tmade-up package %d\n",
				i, i % 9, i % 31, name, addr, i % 5000, i, i % 37, i % 400, i % 50, i
		}
	}'
}

if command -v apt-cache >/dev/null 2>&1 && [ "$(apt-cache dumpavail 2>/dev/null | grep -c '^Package: ')" -ge 1000 ]; then
	echo "the package index of this machine" >&2
	real
else
	echo "made-up packages (this machine has no package index)" >&2
	made_up
fi
