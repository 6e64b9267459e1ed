# What the scripts share; sourced by bash.
#
# A private server is a copy of the installed PostgreSQL in a directory of its
# own, with the extension installed into that copy: no file of the system's
# PostgreSQL is touched, no right to write there is needed, and no other cluster
# can come to load a half-built library.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# No setting of the caller's may lead a client to another server, or change what
# the runners print.
clear_environment()
{
	local name
	for name in $(compgen -e PG); do
		case $name in
		PG_CONFIG | PGTAP) ;; # ours
		*) unset "$name" ;;
		esac
	done
	unset PSQLRC PERL5OPT PROVE_OPTIONS LANGUAGE
	export LC_ALL=C.UTF-8
}

# shellcheck source=scripts/pg_version.sh
. "$root/scripts/pg_version.sh"
clear_environment
PG_CONFIG=$(find_pg_config) || die "no PostgreSQL to build with was found; set PG_CONFIG"
export PG_CONFIG

# The private directory; everything below is in it and goes with it.
private=

# More lines for its server's postgresql.conf.
server_settings=

# The process group of the runner at work.
runner=

# PostgreSQL does not run as root: then its own operating-system user does it.
as_server_user()
{
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=postgres --regid=postgres --init-groups \
			env HOME="${private:-/}" TMPDIR="$private/tmp" "$@"
	else
		HOME=${private:-/} TMPDIR=$private/tmp "$@"
	fi
}

own()
{
	if [ "$(id -u)" = 0 ]; then
		chown -R postgres: "$@"
	fi
}

# The processes that run a program of the private directory.
private_processes()
{
	local exe
	for exe in /proc/[0-9]*/exe; do
		case $(readlink "$exe" 2>/dev/null || true) in
		"$private"/*) basename "$(dirname "$exe")" ;;
		esac
	done
}

# Stops every server of the private directory: ours, and those of TAP tests that
# were interrupted and could not do it themselves.
stop_servers()
{
	local file pids tries
	while IFS= read -r -d '' file; do
		as_server_user "$bindir/pg_ctl" -D "$(dirname "$file")" -m immediate -w stop >/dev/null 2>&1 || true
	done < <(find "$private" -name postmaster.pid -print0 2>/dev/null)
	for tries in 1 2 3 4 5; do
		mapfile -t pids < <(private_processes)
		[ ${#pids[@]} -gt 0 ] || return 0
		[ "$tries" -gt 1 ] || sleep 1
		kill -KILL "${pids[@]}" 2>/dev/null || true
	done
}

cleanup()
{
	trap '' INT TERM HUP
	if [ -n "$runner" ]; then
		kill -TERM -- "-$runner" 2>/dev/null || true
		wait "$runner" 2>/dev/null || true
	fi
	if [ -n "$private" ]; then
		stop_servers
		[ -n "${KEEP_PRIVATE:-}" ] || rm -rf "$private"
	fi
}

# Somewhere that the server's user can reach, with a path short enough for a
# socket's.
make_private_directory()
{
	local base=${TMPDIR:-/tmp}
	if [ ${#base} -gt 50 ] || ! as_server_user test -x "$base" 2>/dev/null; then
		base=/tmp
	fi
	private=$(mktemp -d "$base/policy_engine.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir "$private/tmp"
	chmod 755 "$private"
}

# Copies the installed server.  postgres finds its other files from where its
# binary really is, so these are copies, at the same places under private/pg.
# Sets bindir and libdir.
copy_server()
{
	local server_bin server_lib server_share
	server_bin=$("$PG_CONFIG" --bindir)
	server_lib=$("$PG_CONFIG" --pkglibdir)
	server_share=$("$PG_CONFIG" --sharedir)
	[ -x "$server_bin/postgres" ] || die "there is no server in $server_bin"
	bindir=$private/pg$server_bin
	libdir=$private/pg$server_lib
	mkdir -p "$bindir" "$libdir" "$private/pg$server_share"
	cp -a --reflink=auto "$server_bin/." "$bindir"
	cp -a --reflink=auto "$server_share/." "$private/pg$server_share"
	tar -C "$server_lib" -c --exclude=./bitcode --exclude='./*.a' . | tar -C "$libdir" -x
	PATH=$bindir:$PATH
}

# logged_make TARGET...: make in the copied work tree, silent unless it fails; what
# a compiler that was interrupted leaves behind is in the private directory, too
logged_make()
{
	TMPDIR=$private/tmp make -s -C "$tree" PG_CONFIG="$PG_CONFIG" "$@" >"$private/build.log" 2>&1 || {
		cat "$private/build.log" >&2
		die "make $* failed"
	}
}

# Copies the server and the work tree, builds, and installs into the copy.  Sets
# private, tree (the copied work tree, where it leaves the caller), bindir and
# libdir.
make_private()
{
	if [ "$(id -u)" = 0 ] && ! getent passwd postgres >/dev/null; then
		die "root cannot run PostgreSQL, and there is no user postgres to run it"
	fi
	make_private_directory
	copy_server
	tree=$private/tree
	mkdir "$tree"
	tar -C "$root" -c --exclude-vcs --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=./tmp_check . | tar -C "$tree" -x
	# Those flags are of the make that called us: what it was told is not for here.
	unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR
	logged_make -j"$(nproc)" all
	logged_make install DESTDIR="$private/pg"
	own "$private"
	# The caller's directory may be unreadable to the server's user.
	cd "$tree"
}

# Starts a server in the private directory on a socket there, on no network port.
start_server()
{
	as_server_user "$bindir/initdb" -D "$private/data" -U postgres -E UTF8 --locale=C.UTF-8 -A trust \
		--no-sync >"$private/initdb.log" 2>&1 || {
		cat "$private/initdb.log" >&2
		die "initdb failed"
	}
	cat >>"$private/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$private'
		fsync = off
		max_connections = 50
		max_worker_processes = 16
		max_prepared_transactions = 10
		$server_settings
	CONF
	as_server_user "$bindir/pg_ctl" -D "$private/data" -l "$private/server.log" -w start >/dev/null || {
		cat "$private/server.log" >&2
		die "the server did not start"
	}
	export PGHOST=$private PGUSER=postgres PGDATABASE=postgres
}

# run_logged LOG COMMAND...: runs as the server's user, in a process group of its
# own, so that a signal to this script ends it at once.
run_logged()
{
	local log=$1 status=0
	shift
	set -m
	{ as_server_user "$@" 2>&1 | tee "$log"; } </dev/null &
	runner=$!
	set +m
	wait "$runner" || status=$?
	runner=
	return "$status"
}
