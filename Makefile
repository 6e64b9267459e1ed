# policy_engine: build with PGXS, test on private, throw-away servers.
#
#   make                 build
#   make install         install into the server of PG_CONFIG
#   make demo            the whole story, on a server of its own
#   make test            every test, on servers of their own
#   make lint            formatting and static analysis; make indent formats
#   make fuzz            the fuzzers, outside any server
#   make matrix          build and test on PostgreSQL 17 and 18, in chroots

EXTENSION = policy_engine
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" policy_engine.control)

MODULE_big = policy_engine
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

SCRIPT = sql/policy_engine--$(EXTVERSION).sql
DATA_built = $(SCRIPT)
DATA = $(wildcard sql/policy_engine--*--*.sql)
EXTRA_CLEAN = sql/policy_engine--$(EXTVERSION).sql

WERROR ?= -Werror
PG_CPPFLAGS = -Isrc
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter $(WERROR)
SHLIB_LINK = -lyaml

# Goals that need no server, nor its build files: they install what is missing.
OWN_GOALS = demo test test-regress test-isolation test-pgtap test-tap lint indent fuzz matrix deps

PG_CONFIG ?= pg_config
export PG_CONFIG

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
	scripts/install-deps build test lint

demo:
	scripts/install-deps build
	scripts/demo

test:
	scripts/install-deps build test
	scripts/test

test-regress test-isolation test-pgtap test-tap:
	scripts/install-deps build test
	scripts/test $(@:test-%=%)

lint:
	scripts/install-deps build lint
	scripts/lint

indent:
	scripts/install-deps build lint
	scripts/lint --fix

matrix:
	scripts/matrix

fuzz:
	scripts/install-deps build fuzz
	$(MAKE) -C test/fuzz run
