/*
 * guarded.h
 *	  What is kept of the rows of attached tables that are not plainly allowed.
 *
 * A row's lock comes before that of what is kept of it.
 */
#ifndef POLICY_ATTACH_GUARDED_H
#define POLICY_ATTACH_GUARDED_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "nodes/pg_list.h"
#include "dispatch/approvals.h"
#include "dispatch/settle.h"

/* A row of policy.guarded_jobs. */
typedef struct GuardedJob
{
	bool		is_kept;		/* there is one */
	const char *state;
	Jsonb	   *row_key;		/* the primary key of the job's row */
	int64		decision_id;
	TimestampTz decided_at;
	Jsonb	   *constraints;
	TimestampTz run_after;		/* 0: never throttled */
	TimestampTz started_at;		/* 0: not started yet */
	Jsonb	   *wanted;			/* guarded columns, as the client wants them */
	const char *asked_by;
	const char *asked_via;		/* or NULL */
	Jsonb	   *identities;		/* bound to who asked, an array; NULL: none */
} GuardedJob;

/* Whether its row is kept from running, whatever its client does. */
extern bool guarded_waits(const GuardedJob *guarded, TimestampTz at);

/* The identities as a list of Jsonb, and back. */
extern List *guarded_identities(const GuardedJob *guarded);
extern Jsonb *guarded_identity_array(List *identities);

/* Reads the newest state. */
extern void guarded_read(const PolicyJobKey *key, GuardedJob *guarded);

/* Writes all of it, as the owner of the extension's tables. */
extern void guarded_write(const PolicyJobKey *key, const GuardedJob *guarded);

/*
 * Forgets a job whose row has ended or, with is_gone, has been deleted: then nobody is
 * asked about it any more, but one that was approved is kept as `gone`, so that the same
 * job, inserted again, goes on with its attempts.
 */
extern void guarded_forget(const PolicyJobKey *key, bool is_gone);

/*
 * The job as the verbs of policy.jobs see theirs, with its last decision; inside an
 * OwnerScope.  Where nothing is kept of it, guarded is filled from its evidence.
 */
extern void guarded_candidate(const PolicyJobKey *key, GuardedJob *guarded, Jsonb *job,
							  const char *invalid, Candidate *candidate);

/* What is kept of it once its candidate is decided. */
extern void guarded_set_decision(GuardedJob *guarded, const Candidate *candidate,
								 const char *state);

#endif							/* POLICY_ATTACH_GUARDED_H */
