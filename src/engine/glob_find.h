/*
 * glob_find.h
 *	  A value that some patterns match and others do not: found, or proven not to
 *	  be there.
 *
 * The question is answered by running the patterns' automata side by side (a
 * pattern's states as a bit set, so that the joint automaton is deterministic)
 * and walking the joint states breadth first, over the characters that the
 * patterns name and one more that stands for all others.  What is obvious from
 * literals is answered without that.
 *
 * Values are those that a field of a valid job can have: normalised and not empty.
 * What makes a text normalised is known here but for how characters compose; where
 * a found text is not what normalising leaves, the search goes on, and gives up at
 * the end instead of calling it impossible.  So IMPOSSIBLE is always a proof.
 */
#ifndef POLICY_GLOB_FIND_H
#define POLICY_GLOB_FIND_H

#include "engine/glob.h"

typedef enum PolicyFinding
{
	POLICY_IMPOSSIBLE,			/* there is none */
	POLICY_FOUND,
	POLICY_GAVE_UP				/* a bound was met first: nothing is known */
} PolicyFinding;

/* A bound on the work of many searches together, in steps of some nanoseconds. */
typedef struct PolicyWork
{
	int64		left;
} PolicyWork;

#define GLOB_NSAMPLES 2

/* A pattern to search with; its pattern must stay as long. */
typedef struct SearchGlob
{
	const PolicyPattern *pattern;
	Glob		glob;
	const char *samples[GLOB_NSAMPLES]; /* values that it matches; NULL: none
										 * at hand */
	int			sample_lens[GLOB_NSAMPLES];
} SearchGlob;

/* Fills *glob, in the current memory context. */
extern void glob_search_prepare(const PolicyPattern *pattern, SearchGlob *glob);

/* Patterns, and more of them: lists can share their ends. */
typedef struct GlobList
{
	const SearchGlob *globs;
	int			count;
	const struct GlobList *next;
} GlobList;

/*
 * Looks for a value that matches one glob of each list in some, and no glob of any
 * list in none.  Sets *value, in the current memory context, where FOUND.  Cancels
 * are checked for; where the work runs out it gives up.
 */
extern PolicyFinding glob_find(const GlobList *some, const GlobList *none, PolicyWork *work,
							   const char **value, int *len);

#endif							/* POLICY_GLOB_FIND_H */
