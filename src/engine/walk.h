/*
 * walk.h
 *	  One rule looked at in full: every part that keeps it from applying.
 *
 * A decision stops at the first condition that fails; explanations and the
 * coverage of tests want all of them.  The conditions are those of conditions.h.
 */
#ifndef POLICY_WALK_H
#define POLICY_WALK_H

#include "engine/match.h"

/* A part of a rule; its index is into what has several of the kind. */
typedef enum RulePartKind
{
	RULE_PART_NOT_BEFORE,
	RULE_PART_EXPIRES_AT,
	RULE_PART_SECRETS_PRESENT,
	RULE_PART_CONDITION,
	RULE_PART_LABEL,
	RULE_PART_WHEN,
	RULE_PART_EXCEPTION
} RulePartKind;

typedef struct RulePart
{
	RulePartKind kind;
	int			index;
} RulePart;

typedef struct RuleWalk
{
	RulePart   *failed;			/* in the order above */
	int			nfailed;
	int			nheld;			/* conditions of the match, the `when` among
								 * them */
	PolicyTruth when;			/* TRUE where there is none */
	int			unknown_exception;	/* the first that may hold, or -1 */
	PolicyStanding standing;	/* the velocity left out */
} RuleWalk;

/*
 * Looks at a rule.  failed has room for policy_rule_parts(), or for most of them
 * where at most so many (0: all) are wanted; the walk ends with the last of these.
 */
extern void policy_walk_rule(const CompiledRule *rule, Job *job, TimestampTz at, int most,
							 PolicyBudget *budget, RulePart *failed, RuleWalk *walk);

/* How many parts a rule has: its conditions and exceptions, and its two times. */
extern int	policy_rule_parts(const CompiledRule *rule);

/*
 * The number of a part that is a condition or an exception, from 0 to
 * policy_rule_conditions() - 1; -1 of a time.
 */
extern int	policy_part_number(const CompiledRule *rule, RulePart part);
extern int	policy_rule_conditions(const CompiledRule *rule);
extern RulePart policy_part_numbered(const CompiledRule *rule, int number);

/*
 * What a part is called: "topics", "labels.env", "when", "exceptions".  palloc'd or
 * static.
 */
extern const char *policy_part_name(const CompiledRule *rule, RulePart part);

#endif							/* POLICY_WALK_H */
