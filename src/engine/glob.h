/*
 * glob.h
 *	  Patterns, ready to match: linear in the value, whatever the pattern.
 *
 * A pattern is cut at its `*`s into segments.  A segment has a fixed number of
 * characters, so the first one anchors at the start, the last at the end, and
 * those between are looked for one after the other, leftmost first; no choice
 * is ever taken back.  A segment of literals alone is found by memmem (two-way,
 * linear); one with `?` or classes by bit-parallel search, a machine word for
 * 64 of its characters (Baeza-Yates and Gonnet, "A New Approach to Text
 * Searching", CACM 35(10), 1992).
 */
#ifndef POLICY_GLOB_H
#define POLICY_GLOB_H

#include "engine/arena.h"
#include "language/pattern.h"

typedef struct GlobItem
{
	PolicyTokenKind kind;		/* LITERAL (one code point), ANY_CHAR or CLASS */
	pg_wchar	c;				/* LITERAL */
	bool		negated;		/* CLASS */
	PolicyCharRange *ranges;
	int			nranges;
} GlobItem;

/* Which items of a segment accept a code point, a bit an item. */
typedef struct GlobMask
{
	pg_wchar	c;
	uint64	   *bits;
} GlobMask;

typedef struct GlobSegment
{
	const char *bytes;			/* a segment of literals alone, else NULL */
	const char *lead;			/* any other: the literals that it begins with */
	int			len;			/* of either */
	GlobItem   *items;			/* any other */
	int			nitems;
	GlobMask   *masks;			/* sorted by code point; NULL: compare items */
	int			nmasks;
	uint64	   *other;			/* the mask of a code point not in masks */
	int			nwords;
} GlobSegment;

typedef enum GlobShape
{
	GLOB_EXACT,					/* literals alone */
	GLOB_PREFIX,				/* literals, then * */
	GLOB_ANY,					/* * */
	GLOB_SEGMENTS				/* any other */
} GlobShape;

typedef struct Glob
{
	union
	{
		const char *bytes;		/* EXACT, PREFIX */
		GlobSegment *segments;	/* SEGMENTS */
	}			u;
	int32		count;			/* of bytes, or of segments */
	uint8		shape;			/* GlobShape */
	bool		open_start;		/* SEGMENTS: begins with * */
	bool		open_end;		/* SEGMENTS: ends with * */
} Glob;

/* Compiles into *glob, in the arena; copies what it keeps. */
extern void glob_compile(const PolicyPattern *pattern, PolicyArena *arena, Glob *glob);

/*
 * What a value must begin with for the glob to match it; *whole where it must be
 * just that.
 */
extern void glob_literal_prefix(const Glob *glob, const char **bytes, int *len, bool *whole);

/* Whether the whole normalised value (valid UTF-8) matches. */
extern bool glob_match(const Glob *glob, const char *value, int len);

#endif							/* POLICY_GLOB_H */
