/*
 * statement.h
 *	  What a statement's guard triggers know together.
 *
 * A statement is known by the memory context in which the executor keeps its
 * triggers' call information: the same one for BEFORE and AFTER, for rows and for
 * the statement.  What is kept for it goes with that context.
 */
#ifndef POLICY_STATEMENT_H
#define POLICY_STATEMENT_H

#include "fmgr.h"

#include "dispatch/caller.h"
#include "dispatch/decision.h"
#include "dispatch/row_writer.h"
#include "engine/arena.h"

/* What BEFORE decided of a row, for AFTER to record. */
typedef struct Decided
{
	int64		decision_id;	/* 0: not taken yet */
	TimestampTz at;
	const char *source;
	uint64		content;		/* job_row_content() */
	Jsonb	   *job;			/* NULL: to be made of the row again */
	PolicyVerdict verdict;
	CompiledPolicy *policy;		/* pinned by the statement */
	text	   *snapshot;
	int64		release_id;
	bool		unavailable;
	bool		is_given;		/* evidence has what was given, not the row's
								 * job */
	Jsonb	   *given;
	text	   *tenant_id;
	text	   *actor_id;
	text	   *topic;
	const char *note;
} Decided;

typedef struct GuardStatement
{
	struct GuardStatement *next;
	MemoryContext key;			/* the executor's */
	MemoryContext context;		/* a child of it: everything below */
	MemoryContext row_context;	/* reset for each row */
	MemoryContextCallback release;
	bool		has_caller;
	PolicyCaller caller;
	List	   *identities;		/* bound to the caller */
	PolicyArena arena;			/* of what is kept of decisions */
	Decided    *decided;
	int			ndecided;
	int			capacity;
	int			nnumbered;		/* those that have their id: the first ones */
	int			next_decided;	/* where the next one to be recorded is likely */
	List	   *pinned;			/* policies that verdicts point into */
	text	   *snapshot;		/* the last one's, shared */
	Size		kept;			/* bytes of the jobs that are kept */
	PolicyAttempt attempt;		/* of the last row that was submitted */
	int64		attempt_job_id;
	RowBatch   *evidence;
	RowBatch   *approvals;
	struct AttachedStatement *attached; /* what guards of attached tables add */
} GuardStatement;

/* The statement of a trigger's call. */
extern GuardStatement *policy_statement(FunctionCallInfo fcinfo);

/* Who calls, read once and again where that changes. */
extern const PolicyCaller *policy_statement_caller(GuardStatement *statement);

/*
 * The next decision's id.  Its transaction has an id of its own before: see
 * policy.sealable_through() in sql/60_evidence.sql.  What was decided before without an
 * id gets one first: ids are in the order of decisions.
 */
extern int64 policy_next_decision_id(void);

/*
 * Keeps a decision, copying what would not live long enough.  One that has no id yet
 * takes it when it is recorded, or when the next id is taken.
 */
extern void policy_statement_keep(GuardStatement *statement, const PolicyEnforced *enforced,
								  uint64 content, bool is_given, Jsonb *given);

/* The decision of that id, NULL where this statement did not make it. */
extern Decided *policy_statement_find(GuardStatement *statement, int64 decision_id);

/* The decision that was the place-th to be kept, numbered. */
extern const Decided *policy_statement_decided(GuardStatement *statement, int place);

/* What it decided, of a job, for policy_record() and policy_approvals_sync(). */
extern void policy_statement_enforced(const Decided *decided, Jsonb *job,
									  PolicyEnforced *enforced);

/* Makes the statement's batches, where it has none yet. */
extern void policy_statement_batches(GuardStatement *statement);

#endif							/* POLICY_STATEMENT_H */
