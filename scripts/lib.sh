# What the scripts share; sourced by bash.
#
# A private server is a copy of the installed PostgreSQL in a directory of its
# own, with the extension installed into that copy: no file of the system's
# PostgreSQL is touched, no right to write there is needed, and no other cluster
# can come to load a half-built library.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# The private directory; everything below is in it and goes with it.
private=
server_started=

# PostgreSQL does not run as root: then its own operating-system user does it.
as_server_user()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- env HOME="$private" PATH="$PATH" "$@"
	else
		HOME="$private" "$@"
	fi
}

own_private()
{
	if [ "$(id -u)" = 0 ]; then
		chown -R postgres: "$private"
	fi
}

stop_server()
{
	if [ -n "$server_started" ]; then
		as_server_user "$bindir/pg_ctl" -D "$private/data" -m immediate -w stop >/dev/null 2>&1 || true
		server_started=
	fi
}

cleanup()
{
	stop_server
	if [ -n "$private" ] && [ -z "${KEEP_PRIVATE:-}" ]; then
		rm -rf "$private"
	fi
}

# Copies the server and the work tree, builds, and installs into the copy.  Sets
# private, tree (the copied work tree), bindir and libdir.
make_private()
{
	local server_bin server_share
	private=$(mktemp -d "${TMPDIR:-/tmp}/policy_engine.XXXXXX")
	chmod 755 "$private"
	trap cleanup EXIT
	trap 'exit 130' INT TERM HUP

	server_bin=$("$PG_CONFIG" --bindir)
	server_share=$("$PG_CONFIG" --sharedir)
	bindir=$private/pg$server_bin
	libdir=$private/pg$("$PG_CONFIG" --pkglibdir)
	# postgres finds its other files from where its binary is.
	mkdir -p "$bindir" "$libdir" "$private/pg$server_share"
	cp -aL --reflink=auto "$server_bin/." "$bindir"
	(cd "$("$PG_CONFIG" --pkglibdir)" && tar -ch --exclude=./bitcode --exclude='./*.a' .) | tar -x -C "$libdir"
	cp -aL --reflink=auto "$server_share/." "$private/pg$server_share" 2>/dev/null ||
		cp -a "$server_share/." "$private/pg$server_share"

	tree=$private/tree
	mkdir "$tree"
	(cd "$root" && git ls-files -z --cached --others --exclude-standard |
		while IFS= read -r -d '' file; do
			if [ -e "$file" ]; then printf '%s\0' "$file"; fi
		done | tar -c --null -T -) | tar -x -C "$tree"
	make -s -C "$tree" -j"$(nproc)" all >"$private/build.log" 2>&1 || {
		cat "$private/build.log" >&2
		die "the build failed"
	}
	make -s -C "$tree" install DESTDIR="$private/pg" >"$private/build.log" 2>&1 || {
		cat "$private/build.log" >&2
		die "installing into the private server failed"
	}
	export PATH="$bindir:$PATH"
	own_private
}

# Starts a server in the private directory on a socket there, on no network port.
start_server()
{
	as_server_user "$bindir/initdb" -D "$private/data" -U postgres -E UTF8 --locale=C.UTF-8 -A trust \
		--no-sync >"$private/initdb.log" 2>&1 || {
		cat "$private/initdb.log" >&2
		die "initdb failed"
	}
	cat >>"$private/data/postgresql.conf" <<-EOF
		listen_addresses = ''
		unix_socket_directories = '$private'
		fsync = off
		max_connections = 50
		max_worker_processes = 16
	EOF
	server_started=yes
	as_server_user "$bindir/pg_ctl" -D "$private/data" -l "$private/server.log" -w start >/dev/null || {
		cat "$private/server.log" >&2
		die "the server did not start"
	}
	export PGHOST=$private PGUSER=postgres PGDATABASE=postgres
	unset PGPORT PGPASSWORD PGSERVICE
}
