/*
 * compare.h
 *	  Whether a candidate's verdict is looser than its base's, and in what.
 */
#ifndef POLICY_COMPARE_H
#define POLICY_COMPARE_H

#include "engine/evaluate.h"

typedef enum PolicyChange
{
	POLICY_UNCHANGED,
	POLICY_TIGHTENED,
	POLICY_LOOSENED
} PolicyChange;

/* In what: bits, and their names in policy.simulation_flips.why. */
#define CHANGE_DECISION 0x01
#define CHANGE_CONSTRAINTS 0x02
#define CHANGE_APPROVAL 0x04
#define CHANGE_EXCEPTION 0x08
#define CHANGE_MASK 0x10
#define CHANGE_RULE 0x20
#define CHANGE_KINDS 6

extern const char *const policy_change_names[CHANGE_KINDS];

/* One side; policy is NULL where none was active. */
typedef struct ComparedVerdict
{
	const CompiledPolicy *policy;
	const PolicyVerdict *verdict;
} ComparedVerdict;

/*
 * Compares two verdicts of a valid job at one time.  What cannot be known to be as
 * tight is looser.  *why is set to the bits of what changed for the looser, or, where
 * nothing did, for the tighter.
 */
extern PolicyChange policy_compare(const ComparedVerdict *from, const ComparedVerdict *to,
								   Job *job, TimestampTz at, int *why);

/* Whether all that b, an object, bounds is known to be bounded by a as tightly. */
extern bool policy_bounds_as_tight(const PolicyConstraint *a, const PolicyConstraint *b);

/* Whether who can give approval a, and of what, is known to be within what b asks. */
extern bool policy_approval_as_strict(const CompiledApproval *a, const CompiledApproval *b);

#endif							/* POLICY_COMPARE_H */
