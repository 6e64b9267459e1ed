/*
 * halts.h
 *	  Halts: what they cover does not start.
 *
 * The promise: from a halt's commit on nothing that it covers starts.  A snapshot is
 * not enough for that, nor is a look at the halts: what is being started right now
 * would be handed out after the halt's commit.  So there are locks:
 *
 * CHECK	held, shared, by a transaction while it asks whether a halt covers a job
 *			and starts it;
 * START	held, shared, from its first question on to its end: by then others can
 *			see what it has started;
 * AGAIN	what takes the place of CHECK in a transaction that has START.
 *
 * A halt, just before its commit, takes CHECK exclusively, and keeps it: whoever asks
 * now waits for the commit and then sees the halt.  It waits for those that have
 * START, so that all they start is committed before it, and is listed by whoever
 * looks after it.  They do not wait for it meanwhile, as they ask with AGAIN.  Who
 * keeps a transaction open for longer, to work in it, has started before the halt, and
 * goes on: after five seconds the halt says so in a warning.  It then takes AGAIN
 * exclusively, so that these, too, start nothing more.
 */
#ifndef POLICY_HALTS_H
#define POLICY_HALTS_H

#include "dispatch/approvals.h"
#include "engine/job.h"

/* A halt in force. */
typedef struct PolicyHalt
{
	int64		halt_id;
	const char *reason;			/* in the current memory context */
} PolicyHalt;

/*
 * Whether a halt in force covers a job that is about to start in this transaction; the
 * oldest such is *halt.  The job is as policy_job_read() left it; an invalid one is
 * covered by any.  What is in force is what was committed last, whatever the
 * transaction's snapshot, and this transaction's own halts.  Costs a lock and no look
 * where there is none.  For what starts at once, within the statement.
 */
extern bool policy_halted(const Job *job, PolicyHalt *halt);

/*
 * The same for many jobs.  policy_halts_check() says whether any halt is in force; from
 * there to policy_halts_release() policy_halts_cover() tells of each job, and what is
 * not covered may start.  *again is which lock it has taken.  An error releases, too.
 */
extern bool policy_halts_check(bool *again);
extern bool policy_halts_cover(const Job *job, PolicyHalt *halt);
extern void policy_halts_release(bool again);

/* Whether any halt is in force, for who starts nothing: takes no lock. */
extern bool policy_halts_look(void);

/*
 * Whether jobs may be left aside by halts that were resumed.  policy_halts_settled():
 * none was found, by a look that saw all that was committed when
 * policy_halts_check() returned.
 */
extern bool policy_halts_leave_jobs(void);
extern void policy_halts_settled(void);

/* The ids of the halts in force: bigint[]. */
extern Datum policy_halts_in_force(void);

/*
 * Tells every session, once this transaction commits, to look at the halts and for
 * jobs that were left aside.
 */
extern void policy_halts_signal(void);

/*
 * Records that a halt has stopped a job, given as it would be decided: once a job and
 * halt.  Takes a scope of the owner's by itself; writes nothing where it was recorded
 * before.
 */
extern void policy_halt_evidence(const PolicyHalt *halt, Jsonb *job, const PolicyJobKey *key);

/*
 * Keeps a halt from being resumed until this transaction ends, so that who resumes it
 * finds what is put aside because of it.  False where somebody resumes it, or has.
 * Takes a scope of the owner's by itself.
 */
extern bool policy_halt_keep(const PolicyHalt *halt);

extern void policy_halts_init(void);

#endif							/* POLICY_HALTS_H */
