/*
 * decision.h
 *	  A verdict that is enforced: on which job, under which policy, when.
 */
#ifndef POLICY_DECISION_H
#define POLICY_DECISION_H

#include "dispatch/approvals.h"
#include "dispatch/job_row.h"
#include "dispatch/velocity.h"
#include "language/document.h"
#include "store/decide.h"

struct RowBatch;

typedef struct PolicyEnforced
{
	int64		decision_id;
	TimestampTz at;
	const char *source;			/* submit, update, claim ... */
	Jsonb	   *job;			/* as it was decided */
	uint8		hash[POLICY_DIGEST_LENGTH];
	text	   *tenant_id;		/* as policies compare them; NULL where absent */
	text	   *actor_id;
	text	   *topic;
	PolicyVerdict verdict;
	CompiledPolicy *policy;		/* NULL: none could decide */
	text	   *snapshot;
	int64		release_id;
	bool		unavailable;	/* the policy cannot be read */
	const char *note;			/* or NULL */
} PolicyEnforced;

/*
 * Decides a job now, under the policy in force; satisfied may be NULL.  invalid:
 * why the caller knows it to be no job, or NULL.  attempt: what asks and charges the
 * velocities; NULL: one that begins and ends here.  Everything is in the current
 * memory context or belongs to the policy.  Takes no decision_id.
 */
extern void policy_enforce(Jsonb *job, const char *invalid, const char *source,
						   PolicySatisfied *satisfied, PolicyAttempt *attempt,
						   PolicyEnforced *enforced);

/* The state that a decision puts a waiting job in. */
extern const char *policy_decision_state(PolicyDecision decision);

/* When a throttled job may be claimed. */
extern TimestampTz policy_run_after(const PolicyEnforced *enforced);

/* 1 + max_retries, fractions rounded down; 1 where there is none. */
extern int32 policy_attempts_allowed_by(Jsonb *constraints);

/* Sets *deadline from max_runtime_sec; false where there is none. */
extern bool policy_deadline(Jsonb *constraints, TimestampTz from, TimestampTz *deadline);

/* Adds evidence to a batch of policy.decisions. */
extern void policy_record(struct RowBatch *batch, const PolicyEnforced *enforced,
						  const PolicyJobKey *key);

/* A batch for policy_record(). */
extern struct RowBatch *policy_evidence_batch(void);

#endif							/* POLICY_DECISION_H */
