/*
 * jsonpath.h
 *	  What the language asks of PostgreSQL's jsonpath.
 *
 * Kept behind this small interface so that language/ and engine/ also build
 * outside the server, where test/fuzz gives another implementation.
 */
#ifndef POLICY_JSONPATH_H
#define POLICY_JSONPATH_H

#include "language/diagnostics.h"

typedef enum PolicyStepKind
{
	POLICY_STEP_KEY,			/* .key */
	POLICY_STEP_INDEX,			/* [n] */
	POLICY_STEP_ANY_ELEMENT,	/* [*], and any subscript that is no constant */
	POLICY_STEP_ANY_BELOW		/* .* and .**: whatever is below; ends a path */
} PolicyStepKind;

typedef struct PolicyStep
{
	PolicyStepKind kind;
	const char *key;
	int			keylen;
	int32		index;
} PolicyStep;

/* A place in a job, from its root. */
typedef struct PolicyPath
{
	PolicyMark	mark;
	const char *source;			/* as written, NUL-terminated */
	PolicyStep *steps;
	int			nsteps;
	bool		lax;			/* array steps may be left out or implied */
} PolicyPath;

typedef struct PolicyPathList
{
	PolicyPath *items;
	int			count;
} PolicyPathList;

/*
 * A `when`: checks that it is a predicate that policy-language.md allows.
 * Returns the jsonpath text to evaluate ("strict " put before it where it names
 * no mode), or NULL with an error in diags.  *lax tells its mode; the paths that
 * it reads are added to *reads, and those that it compares with the literal null,
 * or their type with "null", to *nulls.
 */
extern char *policy_predicate_parse(const char *text, int len, PolicyMark mark,
									bool *lax, PolicyPathList *reads,
									PolicyPathList *nulls,
									PolicyDiagnostics *diags);

/*
 * The predicate, of that text, with each of its filters (`? (...)`) keeping the
 * items for which its condition is unknown where that can only raise the
 * predicate's truth (highest), or lower it.  PostgreSQL drops them all.  The text
 * comes back as it is where nothing needs to be written otherwise.
 */
extern char *policy_predicate_bound(const char *text, bool highest);

/*
 * A mask or immaterial path: `$` with .key, [n] and [*] only, at least one
 * step.  Returns false with an error in diags for any other.
 */
extern bool policy_path_parse(const char *text, int len, PolicyMark mark,
							  PolicyPath *path, PolicyDiagnostics *diags);

/* Whether one is a prefix of the other, wildcards covering what is below. */
extern bool policy_paths_overlap(const PolicyPath *a, const PolicyPath *b);

#endif							/* POLICY_JSONPATH_H */
