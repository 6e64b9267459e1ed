/*
 * active.h
 *	  The policy in force.
 */
#ifndef POLICY_ACTIVE_H
#define POLICY_ACTIVE_H

#include "engine/compile.h"

typedef struct ActivePolicy
{
	CompiledPolicy *policy;		/* NULL: none is active, or it is unavailable */
	text	   *snapshot;		/* its name; NULL as above */
	int64		release_id;
	char	   *unavailable;	/* why it cannot be read; else NULL */
} ActivePolicy;

/*
 * The policy in force for the statement that is running.  What *active points
 * to holds until the next call and no longer than the transaction.  A policy
 * that cannot be read is told, not raised, but for a cancelled query and in a
 * parallel query (where no subtransaction can shield the session).
 */
extern void policy_active(ActivePolicy *active);

/*
 * The compiled policy of a named snapshot, pinned; raises PE002 where there is
 * none of that name and what is wrong where it cannot be read.
 */
extern CompiledPolicy *policy_snapshot_pin(text *name);

extern void policy_active_init(void);

#endif							/* POLICY_ACTIVE_H */
