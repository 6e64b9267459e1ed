/*
 * constraint_key.h
 *	  What a constraint's name says of which value is tighter
 *	  (docs/policy-language.md, section 5).
 */
#ifndef POLICY_CONSTRAINT_KEY_H
#define POLICY_CONSTRAINT_KEY_H

typedef enum PolicyKeySense
{
	POLICY_KEY_OTHER,
	POLICY_KEY_DENIES,			/* arrays: union; booleans: true */
	POLICY_KEY_ALLOWS			/* arrays: intersection; booleans: false */
} PolicyKeySense;

typedef enum PolicyKeyBound
{
	POLICY_BOUND_NONE,
	POLICY_BOUND_MAX,			/* first word max: the least number */
	POLICY_BOUND_MIN			/* first word min: the greatest number */
} PolicyKeyBound;

typedef struct PolicyConstraintKey
{
	PolicyKeySense sense;
	PolicyKeyBound bound;
} PolicyConstraintKey;

extern PolicyConstraintKey policy_constraint_key(const char *name, int len);

#endif							/* POLICY_CONSTRAINT_KEY_H */
