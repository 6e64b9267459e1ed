/*
 * shim.h
 *	  What the fuzz drivers use of the shim; test/fuzz alone.
 */
#ifndef POLICY_FUZZ_SHIM_H
#define POLICY_FUZZ_SHIM_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/memutils.h"

/* Makes the context that everything of one input is allocated in. */
extern MemoryContext shim_begin_input(void);

/* Frees it, and with it all that the input took. */
extern void shim_end_input(MemoryContext context);

/* Reads JSON text into a jsonb; NULL where it is none that jsonb takes. */
extern Jsonb *shim_json(const char *text, int len);

/* Whether the bytes are UTF-8 without U+0000, as any text inside a server is. */
extern bool shim_is_text(const char *bytes, int len);

#endif							/* POLICY_FUZZ_SHIM_H */
