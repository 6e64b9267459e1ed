/*
 * diagnostics.h
 *	  What is wrong with a document: collected, not thrown one by one.
 *
 * A PolicyDiagnostics lives in the memory context that was current when it was
 * initialised, and so do its messages.  Lines and columns count from 1, a
 * column in characters; 0 stands for "no position".
 */
#ifndef POLICY_DIAGNOSTICS_H
#define POLICY_DIAGNOSTICS_H

#include "compat.h"

typedef struct PolicyMark
{
	int			line;
	int			column;
} PolicyMark;

typedef enum PolicySeverity
{
	POLICY_SEVERITY_ERROR,
	POLICY_SEVERITY_WARNING
} PolicySeverity;

typedef struct PolicyDiagnostic
{
	PolicyMark	mark;
	PolicySeverity severity;
	const char *code;			/* a stable word, as "unknown_key"; static */
	char	   *message;		/* one line, no trailing period */
	char	   *hint;			/* the next step, or NULL */
} PolicyDiagnostic;

typedef struct PolicyDiagnostics
{
	MemoryContext context;
	PolicyDiagnostic *items;
	int			count;
	int			capacity;
	int			nerrors;
	bool		truncated;		/* there are more than were kept */
} PolicyDiagnostics;

/* What is kept of one document; past it, errors are counted, not kept. */
#define POLICY_MAX_DIAGNOSTICS 1000

extern void policy_diagnostics_init(PolicyDiagnostics *diags);

/*
 * Adds one.  hint may be NULL, and is copied; fmt and what follows are the
 * message, as for errmsg() without translation.
 */
extern void policy_diagnose(PolicyDiagnostics *diags, PolicyMark mark,
							PolicySeverity severity, const char *code,
							const char *hint, const char *fmt,...)
			pg_attribute_printf(6, 7);

/* Orders by line, column, then severity; stable. */
extern void policy_diagnostics_sort(PolicyDiagnostics *diags);

/* Raises PE001 with the first error as message and up to 20 in DETAIL. */
POLICY_NORETURN extern void policy_diagnostics_raise(PolicyDiagnostics *diags);

/*
 * A piece of the document for a message: quoted by the caller, cut to a length
 * that fits a line, control characters shown as \xNN.  palloc'd.
 */
extern char *policy_excerpt(const char *text, int len);

/* The same, cut to a number of characters. */
extern char *policy_shown(const char *text, int len, int max_chars);

/* The candidate nearest to word by edit distance, or NULL where none is near. */
extern const char *policy_nearest(const char *word, int len,
								  const char *const *candidates, int ncandidates);

#endif							/* POLICY_DIAGNOSTICS_H */
