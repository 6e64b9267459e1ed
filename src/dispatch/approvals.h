/*
 * approvals.h
 *	  What people were asked about a job, and what they said.
 *
 * Whoever changes a job's approvals has locked the job's row before.
 */
#ifndef POLICY_APPROVALS_H
#define POLICY_APPROVALS_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/array.h"
#include "utils/jsonb.h"

#include "engine/evaluate.h"
#include "language/document.h"

/* Where a job is stored. */
typedef struct PolicyJobKey
{
	const char *table;			/* schema-qualified */
	const char *key;
} PolicyJobKey;

extern PolicyJobKey policy_job_key(int64 job_id);

typedef enum PolicyApprovalStatus
{
	POLICY_APPROVAL_PENDING,
	POLICY_APPROVAL_APPROVED,
	POLICY_APPROVAL_REJECTED,
	POLICY_APPROVAL_EXPIRED,
	POLICY_APPROVAL_SUPERSEDED,
	POLICY_APPROVAL_CONSUMED
} PolicyApprovalStatus;

extern const char *const policy_approval_statuses[POLICY_APPROVAL_CONSUMED + 1];

/* A row of policy.approvals. */
typedef struct JobApproval
{
	int64		approval_id;
	int64		decision_id;
	TimestampTz decided_at;
	uint8		job_hash[POLICY_DIGEST_LENGTH];
	ArrayType  *immaterial;
	char	   *rule;			/* NULL: the default */
	PolicyApprovalStatus status;
	int32		required;
	ArrayType  *approvers;
	bool		allow_self;
	int32		attempts;
	TimestampTz expires_at;
	bool		used;			/* a verdict rested on it */
} JobApproval;

typedef struct JobApprovals
{
	JobApproval *items;
	int			count;
} JobApprovals;

/* Reads the newest state of all approvals of a job. */
extern void policy_approvals_read(const PolicyJobKey *key, JobApprovals *approvals);

/* Takes apart one row of policy.approvals. */
extern void policy_approval_from_tuple(HeapTuple tuple, TupleDesc tupdesc, JobApproval *approval);

/* Whether it still asks what the rule would ask now of the job. */
extern bool policy_approval_stands(const JobApproval *approval, const CompiledApproval *asks,
								   Jsonb *job);

/* What a rule (NULL: the default) of a policy asks of people. */
extern const CompiledApproval *policy_asks(const CompiledPolicy *policy, const CompiledRule *rule);

/*
 * What a job has satisfied: approvals that it holds, and throttles that it has
 * waited for.
 */
typedef struct JobSatisfied
{
	PolicySatisfied base;
	Jsonb	   *job;
	PolicyJobKey key;
	TimestampTz at;
	const CompiledPolicy *policy;
	int32		attempts_allowed;	/* by one approval */
	bool		is_due;			/* it was throttled, and its time has come */
	bool		has_waited;		/* the decision that throttled it was read: */
	ArrayType  *waited_rules;	/* text[]: its rules; NULL where it is gone */
	char	   *waited_snapshot;
	bool		has_approvals;	/* they have been read */
	JobApprovals approvals;
} JobSatisfied;

extern void policy_satisfied_init(JobSatisfied *satisfied, Jsonb *job, PolicyJobKey key,
								  TimestampTz at, int32 attempts_allowed, bool is_due);

/* The approvals, read once. */
extern JobApprovals *policy_satisfied_approvals(JobSatisfied *satisfied);

struct RowBatch;
struct PolicyEnforced;

/* A batch of rows of policy.approvals. */
extern struct RowBatch *policy_approvals_batch(void);

/*
 * Makes a job's open approvals what its new decision asks: supersedes those that
 * do not stand, and adds to the batch those that are missing.
 * approvals may be NULL: there are none.
 */
extern void policy_approvals_sync(struct RowBatch *batch, const struct PolicyEnforced *enforced,
								  const PolicyJobKey *key, JobApprovals *approvals,
								  const char *requested_by, const char *requested_via);

/*
 * What policy_approvals_sync() would do: whether it would close this approval, and
 * whether one is missing.
 */
extern bool policy_approval_falls(const JobApproval *approval,
								  const struct PolicyEnforced *enforced);
extern bool policy_approvals_missing(const JobApprovals *approvals,
									 const struct PolicyEnforced *enforced);

/* The job of a row of policy.approvals; returns its id where it is one of policy.jobs. */
extern int64 policy_approval_job(HeapTuple tuple, TupleDesc tupdesc, PolicyJobKey *key);

/*
 * Supersedes the open approvals of a job that has ended, where no decision takes
 * their place; those that were used admit nothing any more.
 */
extern void policy_approvals_close(const PolicyJobKey *key);

#endif							/* POLICY_APPROVALS_H */
