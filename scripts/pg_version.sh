# Which PostgreSQL to build and test with; sourced by bash.
#
# PG_CONFIG says so where it is set.  Else it is the newest version that
# extensions can be built for, else the newest server, of those in Debian's
# places; /usr/bin/pg_config may be that of a libpq of another version.
# shellcheck shell=bash

# newest_with FILE: the greatest N of the /usr/lib/postgresql/N that have it
newest_with()
{
	local found
	for found in /usr/lib/postgresql/*/"$1"; do
		if [ -e "$found" ]; then
			found=${found#/usr/lib/postgresql/}
			echo "${found%%/*}"
		fi
	done | sort -n | tail -n 1
}

# The version among the installed ones, or nothing.
installed_version()
{
	local version
	version=$(newest_with lib/pgxs/src/makefiles/pgxs.mk)
	echo "${version:-$(newest_with bin/postgres)}"
}

# Its path, in full: a copied server's pg_config comes first in PATH later.
find_pg_config()
{
	local version
	version=$(installed_version)
	if [ -z "${PG_CONFIG:-}" ] && [ -n "$version" ]; then
		echo "/usr/lib/postgresql/$version/bin/pg_config"
	else
		command -v "${PG_CONFIG:-pg_config}"
	fi
}
