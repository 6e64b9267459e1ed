# How a C function that is not the extension's own is built; include this last.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Werror
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
