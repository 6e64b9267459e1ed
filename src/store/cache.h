/*
 * cache.h
 *	  The session's compiled policies, by what their source says.
 *
 * The key is the source's SHA-256 and never a name or an id: a rolled-back or
 * restored release can give the same id to another document.  An entry is
 * evicted, least recently used first, only while nobody holds it.
 */
#ifndef POLICY_CACHE_H
#define POLICY_CACHE_H

#include "engine/compile.h"
#include "store/release.h"

/* Each pin is given back by policy_cache_unpin(). */
extern CompiledPolicy *policy_cache_pin(const uint8 *digest);
extern CompiledPolicy *policy_cache_pin_again(CompiledPolicy *policy);
extern void policy_cache_unpin(CompiledPolicy *policy);

/*
 * Parses and compiles a document, and pins it.  Raises what is wrong with it,
 * and program_limit_exceeded where the budget runs out; nothing stays after an error.
 */
extern CompiledPolicy *policy_cache_load(Datum document, PolicyBudget *budget);

/* The same of a snapshot's, from the tree beside it where there is one. */
extern CompiledPolicy *policy_cache_load_snapshot(const SnapshotRow *row, PolicyBudget *budget);

#endif							/* POLICY_CACHE_H */
