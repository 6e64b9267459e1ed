/*
 * compile.h
 *	  A policy made ready to decide: one immutable object in one memory context.
 *
 * Rules keep document order and carry their standing; disabled rules are gone.
 * Nothing in it changes after policy_compile() but the reference count, which
 * is store/'s, and the rules' index, which is built at the second decision, and
 * what rules' constraints are, and are as jsonb.
 */
#ifndef POLICY_COMPILE_H
#define POLICY_COMPILE_H

#include "engine/arena.h"
#include "engine/budget.h"
#include "engine/constraints.h"
#include "engine/glob.h"
#include "engine/predicate.h"
#include "language/document.h"
#include "language/policy.h"
#include "language/tree.h"

/* Bump when the same document would compile to something else. */
#define POLICY_COMPILER_VERSION 1

/* any, all and none, side by side. */
typedef struct GlobLists
{
	Glob	   *globs;
	int32		nany;
	int32		nall;
	int32		nnone;
} GlobLists;

typedef struct CompiledCondition
{
	GlobLists	lists;
	PolicyField field;
} CompiledCondition;

typedef struct CompiledLabel
{
	const char *name;
	GlobLists	lists;
	int32		len;
	bool		present;		/* no list at all: it must be there */
} CompiledLabel;

typedef struct CompiledMatch
{
	CompiledCondition *conditions;	/* those that say something */
	int32		nconditions;
	int32		nlabels;
	bool		has_when;
	bool		has_secrets_present;
	bool		secrets_present;
	bool		lax;			/* the `when` is lax */
	CompiledLabel *labels;
	PolicyPredicate *when;		/* or NULL */
	const PolicyPathList *null_places;	/* where the `when` looks for null
										 * itself; NULL: nowhere */
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

/*
 * What tells whether a rule applies comes first: for most of those that are tried,
 * nothing else is looked at.
 */
typedef struct CompiledRule
{
	TimestampTz not_before;
	TimestampTz expires_at;
	PolicyDecision decision;
	int32		proven;			/* the condition that the index has tried, or
								 * -1 */
	int32		nexceptions;
	bool		monitor;
	bool		bounded;		/* sets constraints */
	const PolicyVelocity *velocity; /* or NULL */
	CompiledMatch match;
	CompiledException *exceptions;
	const PolicyConstraint *constraints;	/* compiled_rule_constraints()'s,
											 * or NULL */
	text	   *written;		/* what they are read from then */
	const char *id;				/* in id_text, and a NUL after it */
	text	   *id_text;
	text	   *reason;			/* NULL: "matched rule <id>" stands in */
	Jsonb	   *alone;			/* compiled_rule_alone()'s, or NULL */
	const CompiledApproval *approval;	/* REQUIRE_APPROVAL, else NULL */
	int32		position;		/* among the rules, in document order */
	int32		wait;			/* THROTTLE: seconds; a velocity's window */
} CompiledRule;

typedef struct CompiledPolicy CompiledPolicy;

/* An object, maybe empty.  Made when it is first asked for; lasts as long as the policy. */
extern const PolicyConstraint *compiled_rule_constraints(const CompiledPolicy *policy,
														 const CompiledRule *rule);

/*
 * The verdict's constraints where no other rule applies; lasts as long as the policy.
 * Made when they are first asked for, and shared among rules.
 */
extern Jsonb *compiled_rule_alone(const CompiledPolicy *policy, const CompiledRule *rule);

/* The reason, or what stands in for it. */
extern text *compiled_rule_reason(const CompiledRule *rule);

/* Whether being found by the index is all that a rule asks; once `proven` is set. */
extern bool compiled_rule_is_certain(const CompiledRule *rule);

/*
 * What most decisions ask of a rule, a byte each beside the rules: a walk over a
 * thousand of them does not touch the rules themselves.
 */
#define RULE_CERTAIN 0x01		/* applies wherever the index finds it */
#define RULE_MONITOR 0x02
#define RULE_BOUNDS 0x04		/* sets constraints */
#define RULE_DECISION(brief) ((PolicyDecision) ((brief) >> 4))

typedef struct RuleIndex RuleIndex;
typedef struct SharedConstraints SharedConstraints;

struct CompiledPolicy
{
	MemoryContext context;
	uint8		digest[POLICY_DIGEST_LENGTH];	/* of the source */
	uint64		serial;			/* no other one of this process has it */
	int			references;		/* store/cache.c's */
	bool		first_match;
	bool		has_velocity;	/* some rule has */
	PolicyDecision default_decision;
	text	   *default_reason;
	const PolicyConstraint *default_constraints;
	Jsonb	   *default_jsonb;	/* the default verdict's: {} where it denies */
	Jsonb	   *defaults_alone; /* the default constraints, where no rule sets
								 * any */
	Jsonb	   *no_constraints; /* {} */
	const CompiledApproval *default_approval;	/* of a default that asks */
	PolicyPathList masks;		/* what evidence must not show */
	CompiledRule *rules;
	uint8	   *briefs;			/* by rule */
	int			nrules;
	RuleIndex  *index;			/* finds the rules that a job can match */
	SharedConstraints *shared;
};

/*
 * Compiles into a new context under parent; the rules come from the tree where
 * there is one, else from the policy.  Returns NULL where the budget ran out;
 * nothing is then left behind.
 */
extern CompiledPolicy *policy_compile(const Policy *policy, PolicyTree *tree,
									  const uint8 *digest, MemoryContext parent,
									  PolicyBudget *budget);

#endif							/* POLICY_COMPILE_H */
