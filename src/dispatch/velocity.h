/*
 * velocity.h
 *	  What velocities say of an attempt, and what it is charged.
 *
 * An attempt of a job begins where it is submitted, where its content changes, where
 * it is tried again after a failure, and where policy_redecide decides it.  It asks each
 * velocity once, and what it was told holds for as long as the attempt goes on, through
 * votes, maintenance and its claim, but that a throttled job asks those that throttled
 * it again once its time has come.  Asking charges: under a rule that throttles, which
 * gives the job back, where the rate admits it; under any other, always.
 */
#ifndef POLICY_VELOCITY_H
#define POLICY_VELOCITY_H

#include "utils/array.h"

#include "engine/match.h"

/* The decision that an attempt was last told by. */
typedef struct PriorDecision
{
	TimestampTz at;
	const char *snapshot;
	ArrayType  *matched;		/* text[]: its rules */
	ArrayType  *monitored;
	bool		is_due;			/* it throttled, and the time has come */
} PriorDecision;

struct VelocityAnswer;

typedef struct PolicyAttempt
{
	PolicyRates base;
	bool		reads_only;		/* nothing is charged */
	const PriorDecision *prior; /* NULL: the attempt begins now */
	const CompiledPolicy *policy;	/* the one in force; policy_enforce() sets
									 * it */
	MemoryContext context;		/* of what it was told */
	struct VelocityAnswer *answers;
	int			nanswers;
} PolicyAttempt;

/*
 * prior may be NULL, and must stay as long as the attempt.  What the attempt is told is
 * kept in the current memory context: asked again, it is told the same.
 */
extern void policy_attempt_init(PolicyAttempt *attempt, const PriorDecision *prior);

/* Forgets what it was told. */
extern void policy_attempt_end(PolicyAttempt *attempt);

extern void policy_velocity_init(void);

#endif							/* POLICY_VELOCITY_H */
