/*
 * active.h
 *	  The policy in force.
 */
#ifndef POLICY_ACTIVE_H
#define POLICY_ACTIVE_H

#include "engine/compile.h"

/* When a look was taken; what its kind does not use is zero. */
typedef struct PolicyLookKey
{
	uint64		generation;
	LocalTransactionId lxid;
	TimestampTz statement;
	int			location;		/* of the statement in its text */
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	CommandId	curcid;
} PolicyLookKey;

/* What a look for the newest release found; zeroed is "not looked yet". */
typedef struct PolicyLook
{
	bool		valid;
	PolicyLookKey key;
	bool		found;			/* there is a release */
	int64		release_id;
	text	   *snapshot;		/* in TopMemoryContext */
	CompiledPolicy *policy;		/* pinned */
} PolicyLook;

/* Gives a zeroed look what another holds, but for its key. */
extern void policy_look_copy(PolicyLook *to, const PolicyLook *from);

/* Gives back what a look holds, and zeroes it. */
extern void policy_look_forget(PolicyLook *look);

typedef struct ActivePolicy
{
	CompiledPolicy *policy;		/* NULL: none is active, or it is unavailable */
	text	   *snapshot;		/* its name; NULL as above */
	int64		release_id;
	char	   *unavailable;	/* why it cannot be read; else NULL */
} ActivePolicy;

/*
 * The policy in force for the statement that is running.  site is what the call
 * site keeps from call to call, or NULL; its owner forgets it in the end.  What
 * *active points to holds until the next call and no longer than the transaction.  A policy
 * that cannot be read is told, not raised, but for a cancelled query and in a
 * parallel query (where no subtransaction can shield the session).
 */
extern void policy_active(PolicyLook *site, ActivePolicy *active);

/*
 * The compiled policy of a named snapshot, pinned; raises PE002 where there is
 * none of that name and what is wrong where it cannot be read.
 */
extern CompiledPolicy *policy_snapshot_pin(text *name);

/*
 * The same, NULL where there is none or it cannot be read.  policy is the one in force,
 * which it may be, or NULL.
 */
extern CompiledPolicy *policy_snapshot_pin_readable(const char *name, const CompiledPolicy *policy);

/*
 * A copy of a named snapshot's document; raises PE002 where there is none of that
 * name.  active: it is one that policy_active() has found.
 */
extern PolicyDocument *policy_snapshot_document(text *name, bool active);

/*
 * Whether a rule of a stored snapshot throttles; policy is the one in force, which
 * it may be.  False where there is no such snapshot or rule, or it cannot be read.
 */
extern bool policy_snapshot_throttles(const char *name, const CompiledPolicy *policy,
									  const char *rule_id);

extern void policy_active_init(void);

#endif							/* POLICY_ACTIVE_H */
