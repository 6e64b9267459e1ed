/*
 * witness.h
 *	  A job that is inside of some matches and outside of others: made, or proven
 *	  not to exist.
 *
 * A match holds for a job where each of its conditions does, and each looks at one
 * field (but for what jobs can say in two places: a label that names an MCP field,
 * the tag and the label that mean secrets_present).  So a job inside of a match is
 * made field by field, and one outside of it breaks one condition.
 *
 * A `when` is left aside: what is found need not satisfy it, and is a job outside
 * only where another condition says so.  So IMPOSSIBLE, for jobs inside of A and
 * outside of B, proves that wherever A's other conditions hold, B's do.  What is
 * FOUND is an example to be tried; it can also be invalid for its size.
 */
#ifndef POLICY_WITNESS_H
#define POLICY_WITNESS_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "engine/glob_find.h"
#include "language/policy.h"

/* A match, ready for searches; refers to the match, which must stay as long. */
typedef struct PolicyShape PolicyShape;

/*
 * What matches have in common, so that nothing is asked twice of two conditions.
 * seed: a number that whoever wrote the matches cannot know.
 */
typedef struct PolicyShapes PolicyShapes;

/* Lives, with all its shapes, in the memory context that is current. */
extern PolicyShapes *policy_shapes_create(uint64 seed);
extern PolicyShape *policy_shape(PolicyShapes *shapes, const PolicyMatch *match);

/* What a made job has; nothing of what it does not need but a topic. */
typedef struct PolicyExample PolicyExample;

/*
 * Looks for a job that every shape of inside matches and none of outside.  Sets
 * *example, in the current memory context, where FOUND; with a NULL example, the
 * shapes inside are taken to hold together for some job.  Memory goes to the
 * current context: reset it after.
 */
extern PolicyFinding policy_find_job(const PolicyShape *const *inside, int ninside,
									 const PolicyShape *const *outside, int noutside,
									 PolicyWork *work, PolicyExample **example);

/*
 * The first condition of a shape that no job can satisfy, as a match key
 * ("topics", "labels.env"), with its place; NULL where each can be satisfied or
 * the search gave up.
 */
extern const char *policy_shape_fault(const PolicyShape *shape, PolicyWork *work,
									  PolicyMark *mark);

/* Where a condition's first pattern stands; otherwise where it has none. */
extern PolicyMark policy_condition_mark(const PolicyCondition *condition, PolicyMark otherwise);

typedef void (*PolicyPatternReport) (const PolicyPattern *pattern, void *arg);

/*
 * Reports the patterns of a shape's any and none lists that no normalised value
 * matches: `[ ]x`, as a value never begins with white space.
 */
extern void policy_shape_dead_patterns(const PolicyShape *shape, PolicyWork *work,
									   PolicyPatternReport report, void *arg);

/* The example as a job, and as JSON on one line. */
extern Jsonb *policy_example_job(const PolicyExample *example);
extern char *policy_example_text(const PolicyExample *example);

#endif							/* POLICY_WITNESS_H */
