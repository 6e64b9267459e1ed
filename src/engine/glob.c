/*
 * glob.c
 *	  Patterns, ready to match.  See glob.h for the method.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* memmem */
#endif
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "engine/glob.h"

#define WORD_BITS 64

/* Past this a segment's masks cost more memory than they are worth. */
#define MAX_MASK_WORDS 8192

static bool
item_accepts(const GlobItem *item, pg_wchar c)
{
	if (item->kind == POLICY_TOKEN_ANY_CHAR)
		return true;
	if (item->kind == POLICY_TOKEN_LITERAL)
		return item->c == c;
	for (int i = 0; i < item->nranges; i++)
	{
		if (c >= item->ranges[i].first && c <= item->ranges[i].last)
			return !item->negated;
	}
	return item->negated;
}

static int
compare_code_points(const void *a, const void *b)
{
	pg_wchar	left = *(const pg_wchar *) a;
	pg_wchar	right = *(const pg_wchar *) b;

	return (left > right) - (left < right);
}

/* The code points that a segment names, sorted, each once; NULL if too many. */
static pg_wchar *
named_code_points(const GlobSegment *segment, int *count)
{
	int			limit = MAX_MASK_WORDS / segment->nwords;
	pg_wchar   *named = palloc(sizeof(pg_wchar) * (limit + 1));
	int			n = 0;
	int			unique = 0;

	for (int i = 0; i < segment->nitems; i++)
	{
		const GlobItem *item = &segment->items[i];

		if (item->kind == POLICY_TOKEN_LITERAL)
		{
			if (n >= limit)
				return NULL;
			named[n++] = item->c;
		}
		for (int r = 0; r < item->nranges; r++)
		{
			for (pg_wchar c = item->ranges[r].first; c <= item->ranges[r].last; c++)
			{
				if (n >= limit)
					return NULL;
				named[n++] = c;
			}
		}
	}
	qsort(named, n, sizeof(pg_wchar), compare_code_points);
	for (int i = 0; i < n; i++)
	{
		if (unique == 0 || named[unique - 1] != named[i])
			named[unique++] = named[i];
	}
	*count = unique;
	return named;
}

static uint64 *
mask_of(const GlobSegment *segment, PolicyArena *arena, bool named, pg_wchar c)
{
	uint64	   *bits = policy_arena_alloc(arena, sizeof(uint64) * segment->nwords);

	for (int i = 0; i < segment->nitems; i++)
	{
		const GlobItem *item = &segment->items[i];
		bool		accepts;

		if (named)
			accepts = item_accepts(item, c);
		else
			accepts = item->kind == POLICY_TOKEN_ANY_CHAR ||
				(item->kind == POLICY_TOKEN_CLASS && item->negated);
		if (accepts)
			bits[i / WORD_BITS] |= UINT64CONST(1) << (i % WORD_BITS);
	}
	return bits;
}

static void
build_masks(GlobSegment *segment, PolicyArena *arena)
{
	pg_wchar   *named;
	int			count;

	segment->nwords = (segment->nitems + WORD_BITS - 1) / WORD_BITS;
	if (segment->nwords > MAX_MASK_WORDS)
		return;
	named = named_code_points(segment, &count);
	if (named == NULL)
		return;
	segment->masks = policy_arena_alloc(arena, sizeof(GlobMask) * Max(count, 1));
	segment->nmasks = count;
	for (int i = 0; i < count; i++)
	{
		segment->masks[i].c = named[i];
		segment->masks[i].bits = mask_of(segment, arena, true, named[i]);
	}
	segment->other = mask_of(segment, arena, false, 0);
	pfree(named);
}

static void
add_literal_items(GlobSegment *segment, const PolicyPatternToken *token)
{
	const unsigned char *c = (const unsigned char *) token->bytes;
	const unsigned char *end = c + token->len;

	for (; c < end; c += pg_utf_mblen(c))
	{
		GlobItem   *item = &segment->items[segment->nitems++];

		item->kind = POLICY_TOKEN_LITERAL;
		item->c = utf8_to_unicode(c);
		item->nranges = 0;
	}
}

static void
add_wildcard_item(GlobSegment *segment, PolicyArena *arena, const PolicyPatternToken *token)
{
	GlobItem   *item = &segment->items[segment->nitems++];

	item->kind = token->kind;
	item->negated = token->negated;
	item->nranges = token->nranges;
	if (token->nranges > 0)
	{
		item->ranges = policy_arena_alloc(arena, sizeof(PolicyCharRange) * token->nranges);
		memcpy(item->ranges, token->ranges, sizeof(PolicyCharRange) * token->nranges);
	}
}

/*
 * Compiles the tokens first .. last - 1, none of which is a `*`.  searched: it is
 * anchored at neither end of a value.
 */
static void
compile_segment(const PolicyPattern *pattern, int first, int last, bool searched,
				PolicyArena *arena, GlobSegment *segment)
{
	int			nitems = 0;

	memset(segment, 0, sizeof(GlobSegment));
	if (last - first == 1 && pattern->tokens[first].kind == POLICY_TOKEN_LITERAL)
	{
		segment->len = pattern->tokens[first].len;
		segment->bytes = policy_arena_string(arena, pattern->tokens[first].bytes, segment->len);
		return;
	}

	for (int i = first; i < last; i++)
		nitems += pattern->tokens[i].kind == POLICY_TOKEN_LITERAL ? pattern->tokens[i].len : 1;
	if (pattern->tokens[first].kind == POLICY_TOKEN_LITERAL)
	{
		segment->len = pattern->tokens[first].len;
		segment->lead = policy_arena_string(arena, pattern->tokens[first].bytes, segment->len);
	}
	segment->items = policy_arena_alloc(arena, sizeof(GlobItem) * nitems);
	for (int i = first; i < last; i++)
	{
		if (pattern->tokens[i].kind == POLICY_TOKEN_LITERAL)
			add_literal_items(segment, &pattern->tokens[i]);
		else
			add_wildcard_item(segment, arena, &pattern->tokens[i]);
	}
	if (searched)
		build_masks(segment, arena);
}

/* Cuts at the `*`s. */
static void
compile_segments(const PolicyPattern *pattern, PolicyArena *arena, Glob *glob)
{
	int			first = 0;

	glob->shape = GLOB_SEGMENTS;
	glob->open_start = pattern->tokens[0].kind == POLICY_TOKEN_ANY_RUN;
	glob->open_end = pattern->tokens[pattern->ntokens - 1].kind == POLICY_TOKEN_ANY_RUN;
	glob->u.segments = policy_arena_alloc(arena, sizeof(GlobSegment) * pattern->ntokens);
	for (int i = 0; i <= pattern->ntokens; i++)
	{
		if (i < pattern->ntokens && pattern->tokens[i].kind != POLICY_TOKEN_ANY_RUN)
			continue;
		if (i > first)
			compile_segment(pattern, first, i, first > 0 && i < pattern->ntokens, arena,
							&glob->u.segments[glob->count++]);
		first = i + 1;
	}
}

void
glob_compile(const PolicyPattern *pattern, PolicyArena *arena, Glob *glob)
{
	const PolicyPatternToken *tokens = pattern->tokens;
	int			ntokens = pattern->ntokens;

	memset(glob, 0, sizeof(Glob));
	if (ntokens == 1 && tokens[0].kind == POLICY_TOKEN_ANY_RUN)
		glob->shape = GLOB_ANY;
	else if (tokens[0].kind == POLICY_TOKEN_LITERAL &&
			 (ntokens == 1 || (ntokens == 2 && tokens[1].kind == POLICY_TOKEN_ANY_RUN)))
	{
		glob->shape = ntokens == 1 ? GLOB_EXACT : GLOB_PREFIX;
		glob->count = tokens[0].len;
		glob->u.bytes = policy_arena_string(arena, tokens[0].bytes, tokens[0].len);
	}
	else
		compile_segments(pattern, arena, glob);
}

void
glob_literal_prefix(const Glob *glob, const char **bytes, int *len, bool *whole)
{
	const GlobSegment *first = glob->shape == GLOB_SEGMENTS ? &glob->u.segments[0] : NULL;

	*bytes = "";
	*len = 0;
	*whole = glob->shape == GLOB_EXACT;
	if (glob->shape == GLOB_EXACT || glob->shape == GLOB_PREFIX)
	{
		*bytes = glob->u.bytes;
		*len = glob->count;
	}
	else if (first != NULL && !glob->open_start && first->len > 0)
	{
		*bytes = first->bytes != NULL ? first->bytes : first->lead;
		*len = first->len;
	}
}

/* Matches a segment at value; returns what follows it, or NULL. */
static const char *
match_at(const GlobSegment *segment, const char *value, const char *end)
{
	if (segment->bytes != NULL)
	{
		if (end - value < segment->len || memcmp(value, segment->bytes, segment->len) != 0)
			return NULL;
		return value + segment->len;
	}
	for (int i = 0; i < segment->nitems; i++)
	{
		const unsigned char *c = (const unsigned char *) value;

		if (value >= end || !item_accepts(&segment->items[i], utf8_to_unicode(c)))
			return NULL;
		value += pg_utf_mblen(c);
	}
	return value;
}

/* Matches a segment that must end at end; returns where it begins, or NULL. */
static const char *
match_before(const GlobSegment *segment, const char *value, const char *end)
{
	const char *start = end;

	if (segment->bytes != NULL)
	{
		if (end - value < segment->len)
			return NULL;
		start = end - segment->len;
	}
	else
	{
		for (int i = 0; i < segment->nitems; i++)
		{
			if (start <= value)
				return NULL;
			do
				start--;
			while (start > value && (*start & 0xC0) == 0x80);
		}
	}
	return match_at(segment, start, end) == end ? start : NULL;
}

static const uint64 *
mask_for(const GlobSegment *segment, pg_wchar c)
{
	int			low = 0;
	int			high = segment->nmasks - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (c == segment->masks[middle].c)
			return segment->masks[middle].bits;
		if (c < segment->masks[middle].c)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return segment->other;
}

/* The bit-parallel search; returns what follows the leftmost match, or NULL. */
static const char *
search_masks(const GlobSegment *segment, const char *value, const char *end)
{
	int			last = segment->nitems - 1;
	uint64		found = UINT64CONST(1) << (last % WORD_BITS);
	uint64		one_word = 0;
	uint64	   *state = &one_word;
	const char *result = NULL;

	if (segment->nwords > 1)
		state = palloc0(sizeof(uint64) * segment->nwords);
	while (value < end && result == NULL)
	{
		const uint64 *mask = mask_for(segment, utf8_to_unicode((const unsigned char *) value));
		uint64		carry = 1;

		for (int w = 0; w < segment->nwords; w++)
		{
			uint64		shifted = (state[w] << 1) | carry;

			carry = state[w] >> (WORD_BITS - 1);
			state[w] = shifted & mask[w];
		}
		value += pg_utf_mblen((const unsigned char *) value);
		if (state[last / WORD_BITS] & found)
			result = value;
	}
	if (segment->nwords > 1)
		pfree(state);
	return result;
}

/* Looks for a segment from value on; returns what follows it, or NULL. */
static const char *
search(const GlobSegment *segment, const char *value, const char *end)
{
	if (segment->bytes != NULL)
	{
		const char *at = memmem(value, end - value, segment->bytes, segment->len);

		return at ? at + segment->len : NULL;
	}
	if (segment->masks != NULL)
		return search_masks(segment, value, end);
	for (; value < end; value += pg_utf_mblen((const unsigned char *) value))
	{
		const char *after = match_at(segment, value, end);

		if (after)
			return after;
	}
	return NULL;
}

static bool
match_segments(const Glob *glob, const char *value, int len)
{
	const char *end = value + len;
	int			first = 0;
	int			last = glob->count;

	if (last > 0 && !glob->open_start)
	{
		value = match_at(&glob->u.segments[0], value, end);
		if (value == NULL)
			return false;
		if (last == 1 && !glob->open_end)
			return value == end;
		first = 1;
	}
	if (last > first && !glob->open_end)
	{
		end = match_before(&glob->u.segments[last - 1], value, end);
		if (end == NULL)
			return false;
		last--;
	}
	for (; first < last; first++)
	{
		value = search(&glob->u.segments[first], value, end);
		if (value == NULL)
			return false;
	}
	return true;
}

bool
glob_match(const Glob *glob, const char *value, int len)
{
	switch (glob->shape)
	{
		case GLOB_EXACT:
			return len == glob->count && memcmp(value, glob->u.bytes, len) == 0;
		case GLOB_PREFIX:
			return len >= glob->count && memcmp(value, glob->u.bytes, glob->count) == 0;
		case GLOB_ANY:
			return true;
		default:
			return match_segments(glob, value, len);
	}
}
