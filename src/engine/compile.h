/*
 * compile.h
 *	  A policy made ready to decide: one immutable object in one memory context.
 *
 * Rules keep document order and carry their standing; disabled rules are gone.
 * Nothing in it changes after policy_compile() but the reference count, which
 * is store/'s.
 */
#ifndef POLICY_COMPILE_H
#define POLICY_COMPILE_H

#include "engine/budget.h"
#include "engine/constraints.h"
#include "engine/glob.h"
#include "engine/predicate.h"
#include "language/document.h"
#include "language/policy.h"

/* Bump when the same document would compile to something else. */
#define POLICY_COMPILER_VERSION 1

typedef struct GlobList
{
	Glob	   *globs;
	int			count;
} GlobList;

typedef struct CompiledCondition
{
	PolicyField field;
	GlobList	any;
	GlobList	all;
	GlobList	none;
} CompiledCondition;

typedef struct CompiledLabel
{
	const char *name;
	int			len;
	GlobList	any;
	GlobList	all;
	GlobList	none;
	bool		present;		/* no list at all: it must be there */
} CompiledLabel;

typedef struct CompiledMatch
{
	CompiledCondition *conditions;	/* those that say something */
	int			nconditions;
	CompiledLabel *labels;
	int			nlabels;
	bool		has_secrets_present;
	bool		secrets_present;
	PolicyPredicate *when;		/* or NULL */
	bool		lax;			/* the `when` is lax */
	PolicyPathList null_places; /* where the `when` looks for null itself */
} CompiledMatch;

typedef struct CompiledException
{
	const char *id;
	TimestampTz expires_at;
	CompiledMatch match;
} CompiledException;

/* What a rule asks of people. */
typedef struct CompiledApproval
{
	const char **approvers;		/* role names; none: whoever has the duty */
	int			napprovers;
	PolicyPathList immaterial;	/* with their sources */
	int			min_approvals;
	int			expires_in_sec;
	bool		allow_self;
} CompiledApproval;

typedef struct CompiledRule
{
	const char *id;
	text	   *id_text;
	text	   *reason;			/* never NULL: "matched rule <id>" stands in */
	PolicyDecision decision;
	bool		monitor;
	int			position;		/* among the rules, in document order */
	TimestampTz not_before;
	TimestampTz expires_at;
	CompiledMatch match;
	CompiledException *exceptions;
	int			nexceptions;
	const PolicyConstraint *constraints;	/* an object, maybe empty */
	Jsonb	   *alone;			/* the verdict's constraints where no other
								 * rule applies */
	bool		has_velocity;
	int			wait;			/* THROTTLE: seconds; a velocity's window */
	const CompiledApproval *approval;	/* REQUIRE_APPROVAL, else NULL */
} CompiledRule;

typedef struct RuleIndex RuleIndex;

typedef struct CompiledPolicy
{
	MemoryContext context;
	uint8		digest[POLICY_DIGEST_LENGTH];	/* of the source */
	int			references;		/* store/cache.c's */
	bool		first_match;
	PolicyDecision default_decision;
	text	   *default_reason;
	const PolicyConstraint *default_constraints;
	Jsonb	   *default_jsonb;	/* the same */
	Jsonb	   *no_constraints; /* {} */
	const CompiledApproval *default_approval;	/* of a default that asks */
	PolicyPathList masks;		/* what evidence must not show */
	CompiledRule *rules;
	int			nrules;
	RuleIndex  *index;			/* finds the rules that a job can match */
} CompiledPolicy;

/*
 * Compiles into a new context under parent.  Returns NULL where the budget ran
 * out; nothing is then left behind.
 */
extern CompiledPolicy *policy_compile(const Policy *policy, const uint8 *digest,
									  MemoryContext parent, PolicyBudget *budget);

#endif							/* POLICY_COMPILE_H */
