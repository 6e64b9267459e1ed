/*
 * settle.h
 *	  Jobs that wait, decided again.
 *
 * The protocol of every verb that moves a job by a decision: lock the job's row;
 * only then look at the active policy and at its approvals; record; move.  All in
 * one OwnerScope.
 */
#ifndef POLICY_SETTLE_H
#define POLICY_SETTLE_H

#include "executor/spi.h"

#include "dispatch/decision.h"
#include "dispatch/row_writer.h"

/* A locked job, what it was decided to be, and what it is now. */
typedef struct Candidate
{
	JobRow		row;
	int64		job_id;
	PolicyJobKey key;
	char	   *state;
	Jsonb	   *job;
	const char *invalid;
	bool		has_prior;		/* its last decision is in evidence: */
	char	   *prior_decision;
	PriorDecision prior;
	Jsonb	   *prior_constraints;
	JobSatisfied satisfied;
	PolicyEnforced now;
	Jsonb	   *constraints;	/* what it may run with */
} Candidate;

typedef struct Candidates
{
	Candidate  *items;
	int			count;
} Candidates;

/* Takes the locked rows of SPI_tuptable, and looks up their last decisions. */
extern void policy_candidates_read(Candidates *candidates);

/* Looks up the last decision of one whose row has its id and time. */
extern void policy_candidate_read_prior(Candidate *candidate);

/*
 * Reads a job without locking it, and decides what a verb would, for a function that
 * writes nothing; inside an OwnerScope.  False where there is no such job.
 */
extern bool policy_candidate_peek(int64 job_id, Candidate *candidate);

/* Decides one now. */
extern void policy_candidate_decide(Candidate *candidate, const char *source);

/* Whether what is decided differs; with_snapshot: by another policy, too. */
extern bool policy_candidate_changed(const Candidate *candidate, bool with_snapshot);

/* The approvals that starting jobs rest on have admitted one more attempt. */
extern void policy_candidates_consume(Candidate **starting, int count);

/* What evidence and approvals come of a verb, written together in the end. */
typedef struct Recording
{
	RowBatch   *evidence;
	RowBatch   *approvals;
} Recording;

extern void policy_recording_init(Recording *recording);
extern void policy_recording_write(Recording *recording);

/* Records the decision, which gets its id, and makes the row point to it. */
extern void policy_candidate_record(Candidate *candidate, Recording *recording);

/* Makes its open approvals what the decision asks. */
extern void policy_candidate_sync(Candidate *candidate, Recording *recording);

/* Whether that would change any: superseding one needs a new decision to point to. */
extern bool policy_candidate_asks_anew(Candidate *candidate);

/* Moves the job to a state, with the decision that it has now. */
extern void policy_candidate_move(const Candidate *candidate, const char *state);

/*
 * Settles one job: see policy.settle() in sql/55_dispatch.sql.  Returns its state,
 * NULL where there is no such job.
 */
extern char *policy_settle_job(int64 job_id, const char *source, const char *note);

/*
 * Moves a job of an attached table whose approval has changed: settles it (to: NULL), or
 * refuses it.  Set by the room of attachments when the library is loaded.
 */
extern void (*policy_attached_settle) (const PolicyJobKey *key, const char *source,
									   const char *to);

/* policy_candidate_peek() of a job of an attached table; set likewise. */
extern bool (*policy_attached_peek) (const PolicyJobKey *key, Candidate *candidate);

#endif							/* POLICY_SETTLE_H */
