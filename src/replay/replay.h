/*
 * replay.h
 *	  Jobs of the past under a candidate and under its base, one by one.
 */
#ifndef POLICY_REPLAY_H
#define POLICY_REPLAY_H

#include "engine/rate.h"
#include "replay/compare.h"
#include "utils/hsearch.h"

/* Why a job cannot be replayed. */
typedef enum ReplayObstacle
{
	REPLAY_MASKED_FACT,
	REPLAY_VELOCITY,
	REPLAY_INVALID_JOB
} ReplayObstacle;

#define REPLAY_OBSTACLES (REPLAY_INVALID_JOB + 1)

extern const char *const replay_obstacle_names[REPLAY_OBSTACLES];

typedef int64 DecisionMatrix[POLICY_NDECISIONS][POLICY_NDECISIONS];

/*
 * Rules are counted by the number of their id, which is the same under both
 * policies; 0 is the default's.
 */
typedef struct ReplayRules
{
	int			count;
	const char **ids;
	int		   *base;			/* numbers, by a rule's position */
	int		   *candidate;
	uint64	   *seen;			/* the round that last had it */
	uint64		round;
} ReplayRules;

/*
 * The counters that one policy's velocities would have had: each replayed job is an
 * attempt at its own time.
 */
typedef struct ReplayRates
{
	PolicyRates rates;
	HTAB	   *counters;		/* by the digest of their key */
	long		sweep_at;		/* with so many, those that are idle go */
	TimestampTz at;
	bool		charges;
} ReplayRates;

/* What is asked of each job; a worker of a parallel query has one of its own. */
typedef struct Replay
{
	CompiledPolicy *base;		/* NULL: none, which denies */
	CompiledPolicy *candidate;
	TimestampTz present;
	bool		has_times;		/* a rule or an exception of either has */
	PolicyVerdict denial;		/* without a base */
	ReplayRules rules;
	bool		in_order;		/* jobs come in the order of their times, from
								 * before any velocity's window */
	ReplayRates base_rates;
	ReplayRates candidate_rates;
} Replay;

/* What came of all jobs together. */
typedef struct ReplayCounts
{
	int64		jobs;
	int64		replayed;
	int64		obstacles[REPLAY_OBSTACLES];
	int64		loosened;
	int64		tightened;
	int64		newly_approval;
	TimestampTz first;			/* of the jobs' own times; DT_NOEND,
								 * DT_NOBEGIN: */
	TimestampTz last;			/* none has one */
	DecisionMatrix matrix;
	DecisionMatrix matrix_then;
	int64	   *gained;			/* by rule's number: jobs that it newly
								 * applies to */
	int64	   *lost;			/* and no longer */
} ReplayCounts;

/* A job, and what is known of its past. */
typedef struct ReplayedJob
{
	Jsonb	   *source;
	bool		has_time;
	TimestampTz time;
	bool		has_decision;
	PolicyDecision decision;	/* that was recorded */
	const CompiledPolicy *recorded; /* the policy that masked it; NULL: none
									 * did */
	bool		payload_hidden; /* recorded while no policy could be read */
	bool		masks_unknown;	/* by a policy that is not there any more */
} ReplayedJob;

/* Rules by their numbers. */
typedef struct RuleNumbers
{
	int32	   *items;
	int			count;
} RuleNumbers;

/* What came of one job, as much as is counted. */
typedef struct ReplayOutcome
{
	bool		has_time;
	TimestampTz time;
	bool		replayed;
	ReplayObstacle obstacle;	/* where it was not; then nothing below is set */
	PolicyChange change;
	PolicyDecision from;		/* at the moment at which the change is worst */
	PolicyDecision to;
	bool		has_decision;
	PolicyDecision recorded;
	PolicyDecision then;		/* what the candidate says of the job's own
								 * time */
	bool		newly_approval; /* at any moment from its own time on */
	RuleNumbers gained;
	RuleNumbers lost;
} ReplayOutcome;

/* The verdicts at that moment. */
typedef struct ReplayFlip
{
	int			why;
	TimestampTz at;
	Job			job;
	PolicyVerdict from;
	PolicyVerdict to;
} ReplayFlip;

/* The longest window of a velocity of either policy, in seconds; 0: none has one. */
extern int	replay_longest_window(const CompiledPolicy *base, const CompiledPolicy *candidate);

/* Begins, in the current memory context; the policies stay the caller's to unpin. */
extern void replay_begin(Replay *replay, CompiledPolicy *base, CompiledPolicy *candidate,
						 TimestampTz present);

/* Counts of nothing, in the current memory context. */
extern void replay_begin_counts(const Replay *replay, ReplayCounts *counts);

/*
 * Replays one job.  What it sets is in the current memory context, which is the
 * caller's to reset; *flip means something where outcome->change does.
 */
extern void replay_job(Replay *replay, const ReplayedJob *job, ReplayOutcome *outcome,
					   ReplayFlip *flip);

extern void replay_count(ReplayCounts *counts, const ReplayOutcome *outcome);

/* A job of before the window: it charges the counters, where they are kept, alone. */
extern void replay_warm_up(Replay *replay, const ReplayedJob *job);

#endif							/* POLICY_REPLAY_H */
