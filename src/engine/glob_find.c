/*
 * glob_find.c
 *	  Values for patterns: what is plain to see.  See glob_find.h.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "engine/glob_walk.h"

/* What fills a `*`: nothing, and what no other pattern is likely to ask for. */
static const char *const run_samples[GLOB_NSAMPLES] = {"", "q0z"};

/* How many steps comparing a value with a pattern counts as. */
#define STEPS_OF_MATCH 16

/* A character that a token for one character accepts. */
static pg_wchar
sample_character(const PolicyPatternToken *token)
{
	pg_wchar	c = 'x';

	if (token->kind == POLICY_TOKEN_ANY_CHAR || glob_class_accepts(token, c))
		return c;
	if (!token->negated)
		return token->ranges[0].first;
	for (c = 'z'; c >= 'a'; c--)
	{
		if (glob_class_accepts(token, c))
			return c;
	}
	return '0';
}

/* Room enough: normalising can make a literal longer than it was written. */
static int
sample_room(const PolicyPattern *pattern)
{
	int			room = MAX_MULTIBYTE_CHAR_LEN;

	for (int i = 0; i < pattern->ntokens; i++)
		room += Max(pattern->tokens[i].len, MAX_MULTIBYTE_CHAR_LEN);
	return room;
}

static char *
make_sample(const PolicyPattern *pattern, const char *run, int *len)
{
	char	   *value = palloc(sample_room(pattern));
	char	   *to = value;

	for (int i = 0; i < pattern->ntokens; i++)
	{
		const PolicyPatternToken *token = &pattern->tokens[i];

		if (token->kind == POLICY_TOKEN_LITERAL || token->kind == POLICY_TOKEN_ANY_RUN)
		{
			const char *from = token->kind == POLICY_TOKEN_LITERAL ? token->bytes : run;
			int			n = token->kind == POLICY_TOKEN_LITERAL ? token->len : (int) strlen(run);

			memcpy(to, from, n);
			to += n;
			continue;
		}
		unicode_to_utf8(sample_character(token), (unsigned char *) to);
		to += pg_utf_mblen((unsigned char *) to);
	}
	*len = to - value;
	return value;
}

void
glob_search_prepare(const PolicyPattern *pattern, SearchGlob *glob)
{
	memset(glob, 0, sizeof(SearchGlob));
	glob->pattern = pattern;
	glob_compile(pattern, NULL, &glob->glob);
	for (int i = 0; i < GLOB_NSAMPLES; i++)
	{
		int			len;
		char	   *sample = make_sample(pattern, run_samples[i], &len);

		if (glob_is_value(sample, len) && glob_match(&glob->glob, sample, len))
		{
			glob->samples[i] = sample;
			glob->sample_lens[i] = len;
		}
		else
			pfree(sample);
		if (glob->glob.shape == GLOB_EXACT)
			break;
	}
}

static bool
matches(const SearchGlob *glob, const char *value, int len, PolicyWork *work)
{
	work->left -= STEPS_OF_MATCH + len / 64;
	return glob_match(&glob->glob, value, len);
}

static bool
any_matches(const GlobList *list, const char *value, int len, PolicyWork *work)
{
	for (int i = 0; i < list->count; i++)
	{
		if (matches(&list->globs[i], value, len, work))
			return true;
	}
	return false;
}

/* Whether a value is what is asked for. */
static bool
satisfies(const GlobList *some, const GlobList *none, const char *value, int len,
		  PolicyWork *work)
{
	for (; some != NULL; some = some->next)
	{
		if (!any_matches(some, value, len, work))
			return false;
	}
	for (; none != NULL; none = none->next)
	{
		if (any_matches(none, value, len, work))
			return false;
	}
	return true;
}

/* Whether it is plain to see that a matches whatever b does. */
static bool
plainly_covers(const SearchGlob *a, const SearchGlob *b)
{
	const char *prefix;
	int			len;
	bool		whole;

	if (a->glob.shape == GLOB_ANY)
		return true;
	if (a->glob.shape == GLOB_PREFIX)
	{
		glob_literal_prefix(&b->glob, &prefix, &len, &whole);
		return len >= a->glob.count && memcmp(prefix, a->glob.u.bytes, a->glob.count) == 0;
	}
	return a->pattern->sourcelen == b->pattern->sourcelen &&
		memcmp(a->pattern->source, b->pattern->source, a->pattern->sourcelen) == 0;
}

/* Whether it is plain to see that no value matches pivot and is what is asked for. */
static bool
plainly_impossible(const SearchGlob *pivot, const GlobList *some, const GlobList *none,
				   PolicyWork *work)
{
	for (; none != NULL; none = none->next)
	{
		work->left -= none->count;
		for (int i = 0; i < none->count; i++)
		{
			if (plainly_covers(&none->globs[i], pivot))
				return true;
		}
	}
	for (; some != NULL; some = some->next)
	{
		bool		apart = true;

		work->left -= some->count;
		for (int i = 0; i < some->count && apart; i++)
			apart = glob_are_apart(&some->globs[i], pivot);
		if (apart)
			return true;
	}
	return false;
}

static PolicyFinding
find_for_pivot(const SearchGlob *pivot, const GlobList *some, const GlobList *none,
			   PolicyWork *work, const char **value, int *len)
{
	for (int i = 0; i < GLOB_NSAMPLES; i++)
	{
		if (pivot->samples[i] == NULL ||
			!satisfies(some, none, pivot->samples[i], pivot->sample_lens[i], work))
			continue;
		*value = pivot->samples[i];
		*len = pivot->sample_lens[i];
		return POLICY_FOUND;
	}
	/* An exact pattern's only value is its sample. */
	if (pivot->glob.shape == GLOB_EXACT || plainly_impossible(pivot, some, none, work))
		return POLICY_IMPOSSIBLE;
	return glob_walk(pivot, some, none, work, value, len);
}

/* The list whose patterns are tried one by one: one of exact ones, or the shortest. */
static const GlobList *
choose_list(const GlobList *some)
{
	const GlobList *chosen = some;

	for (; some != NULL; some = some->next)
	{
		bool		exact = true;

		for (int i = 0; i < some->count && exact; i++)
			exact = some->globs[i].glob.shape == GLOB_EXACT;
		if (exact)
			return some;
		if (some->count < chosen->count)
			chosen = some;
	}
	return chosen;
}

/* Any value but what none says: tries some that nobody is likely to name. */
static PolicyFinding
find_any(const GlobList *none, PolicyWork *work, const char **value, int *len)
{
	static const char *const samples[] = {"x", "q0z"};

	for (int i = 0; i < (int) lengthof(samples); i++)
	{
		*value = samples[i];
		*len = strlen(samples[i]);
		if (satisfies(NULL, none, *value, *len, work))
			return POLICY_FOUND;
	}
	for (; none != NULL; none = none->next)
	{
		for (int i = 0; i < none->count; i++)
		{
			if (none->globs[i].glob.shape == GLOB_ANY)
				return POLICY_IMPOSSIBLE;
		}
	}
	return POLICY_GAVE_UP;
}

PolicyFinding
glob_find(const GlobList *some, const GlobList *none, PolicyWork *work,
		  const char **value, int *len)
{
	PolicyFinding result = POLICY_IMPOSSIBLE;
	const GlobList *list;

	if (work->left < 0)
		return POLICY_GAVE_UP;
	if (some == NULL)
	{
		result = find_any(none, work, value, len);
		return result != POLICY_GAVE_UP ? result :
			glob_walk(NULL, NULL, none, work, value, len);
	}
	list = choose_list(some);
	for (int i = 0; i < list->count; i++)
	{
		PolicyFinding finding;

		CHECK_FOR_INTERRUPTS();
		if (work->left < 0)
			return POLICY_GAVE_UP;
		finding = find_for_pivot(&list->globs[i], some, none, work, value, len);

		if (finding == POLICY_FOUND)
			return POLICY_FOUND;
		if (finding == POLICY_GAVE_UP)
			result = POLICY_GAVE_UP;
	}
	return result;
}
