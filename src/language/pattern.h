/*
 * pattern.h
 *	  Patterns of match lists, parsed.  Matching is the engine's.
 */
#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H

#include "language/diagnostics.h"
#include "mb/pg_wchar.h"

typedef enum PolicyTokenKind
{
	POLICY_TOKEN_LITERAL,		/* these bytes */
	POLICY_TOKEN_ANY_CHAR,		/* ?: one code point */
	POLICY_TOKEN_ANY_RUN,		/* *: any run, the empty one included */
	POLICY_TOKEN_CLASS			/* [a-z], [!a-z]: one code point */
} PolicyTokenKind;

typedef struct PolicyCharRange
{
	pg_wchar	first;
	pg_wchar	last;
} PolicyCharRange;

typedef struct PolicyPatternToken
{
	PolicyTokenKind kind;
	const char *bytes;			/* LITERAL: normalised UTF-8, never empty */
	int			len;
	bool		negated;		/* CLASS */
	PolicyCharRange *ranges;	/* CLASS: sorted, disjoint, normalised */
	int			nranges;
} PolicyPatternToken;

/* Tokens with no two LITERAL or ANY_RUN side by side; at least one. */
typedef struct PolicyPattern
{
	const char *source;			/* as written, NUL-terminated */
	int			sourcelen;
	PolicyMark	mark;
	PolicyPatternToken *tokens;
	int			ntokens;
} PolicyPattern;

/*
 * Parses one pattern; mark is where it stands.  Returns NULL, with an error in
 * diags, for a bad one.  The result is in the current memory context.
 */
extern PolicyPattern *policy_pattern_parse(const char *source, int len,
										   PolicyMark mark,
										   PolicyDiagnostics *diags);

#endif							/* POLICY_PATTERN_H */
