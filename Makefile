# policy_engine: built with PGXS, tested on private, throw-away servers.
#
#   make                 build
#   make install         install into the server of PG_CONFIG
#   make demo            the whole story, on a server of its own
#   make test            every test, on servers of their own; test-regress,
#                        test-isolation, test-pgtap, test-tap, test-clients: one kind
#   make lint            formatting and static analysis; make indent formats
#   make fuzz            the fuzzers, outside any server
#   make matrix          build and test on other releases of Debian, in chroots
#   make bench           every ratio, on a server of its own; bench-quick, those that
#                        count, with fewer jobs; bench-peers, beside other engines
#
# PG_CONFIG chooses the PostgreSQL; WERROR= lets warnings pass.

EXTENSION = policy_engine

# The version's one place is the control file.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" policy_engine.control)

MODULE_big = policy_engine
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

SCRIPT = sql/policy_engine--$(EXTVERSION).sql
DATA_built = $(SCRIPT)
DATA = $(filter-out $(SCRIPT),$(wildcard sql/policy_engine--*--*.sql))
EXTRA_CLEAN = tmp_check

WERROR ?= -Werror
PG_CPPFLAGS = -Isrc
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter $(WERROR)
# OpenSSL where PostgreSQL has it.
SHLIB_LINK = -lyaml $(filter -lcrypto, $(LIBS))

# make installcheck: pg_regress on an installation of the user's own.
REGRESS_TESTS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS ?= $(REGRESS_TESTS)
REGRESS_OPTS = --inputdir=test

# Goals that need no server, nor its build files: they install what is missing.
OWN_GOALS = demo test test-regress test-isolation test-pgtap test-tap test-clients \
	lint indent typedefs fuzz matrix deps bench bench-quick bench-peers

# The scripts are told of a PG_CONFIG that somebody chose; else they look for one.
ifneq ($(origin PG_CONFIG),undefined)
export PG_CONFIG
else
PG_CONFIG = pg_config
endif

ifeq ($(filter-out $(OWN_GOALS),$(or $(MAKECMDGOALS),all)),)
.NOTPARALLEL:
else
# No LLVM bitcode: it would need clang, and inlines nothing that is hot here.
override with_llvm = no
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A changed header, or flag, rebuilds everything: it takes seconds.
$(OBJS): $(wildcard src/*.h src/*/*.h) Makefile
endif

$(SCRIPT): $(sort $(wildcard sql/[0-9][0-9]_*.sql)) policy_engine.control
	cat $(filter %.sql,$^) > $@

.PHONY: $(OWN_GOALS)

deps:
	@scripts/install-deps run build test lint

demo:
	@scripts/install-deps run build
	@scripts/demo

test:
	@scripts/install-deps run build test
	@scripts/test

test-regress test-isolation test-pgtap test-tap test-clients:
	@scripts/install-deps run build test
	@scripts/test $(@:test-%=%)

lint:
	@scripts/install-deps run build lint
	@scripts/lint

indent:
	@scripts/install-deps run build lint
	@scripts/lint --fix

typedefs:
	@scripts/typedefs >typedefs.list.new && mv typedefs.list.new typedefs.list

matrix:
	@scripts/matrix

fuzz:
	@scripts/install-deps build fuzz
	@test/fuzz/run

bench:
	@scripts/install-deps run build test
	@bench/run

bench-quick:
	@scripts/install-deps run build test
	@bench/run --quick

bench-peers:
	@scripts/install-deps run build test
	@bench/peers/run
