/*
 * constraint_key.c
 *	  What a constraint's name says of which value is tighter.
 */
#include "postgres.h"

#include "language/constraint_key.h"

typedef struct KeyWord
{
	const char *word;
	PolicyKeySense sense;
} KeyWord;

static const KeyWord key_words[] = {
	{"deny", POLICY_KEY_DENIES},
	{"denied", POLICY_KEY_DENIES},
	{"denylist", POLICY_KEY_DENIES},
	{"disallow", POLICY_KEY_DENIES},
	{"disallowed", POLICY_KEY_DENIES},
	{"block", POLICY_KEY_DENIES},
	{"blocked", POLICY_KEY_DENIES},
	{"blocklist", POLICY_KEY_DENIES},
	{"forbid", POLICY_KEY_DENIES},
	{"forbidden", POLICY_KEY_DENIES},
	{"allow", POLICY_KEY_ALLOWS},
	{"allowed", POLICY_KEY_ALLOWS},
	{"allowlist", POLICY_KEY_ALLOWS}
};

static bool
is_separator(char c)
{
	return c == '_' || c == '-' || c == '.';
}

static bool
is_capital(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool
is_small(char c)
{
	return c >= 'a' && c <= 'z';
}

/* Whether a word begins at name[i], which is no separator. */
static bool
begins_word(const char *name, int len, int i)
{
	char		before;

	if (i == 0 || is_separator(name[i - 1]))
		return true;
	if (!is_capital(name[i]))
		return false;

	before = name[i - 1];
	if (is_small(before) || (before >= '0' && before <= '9'))
		return true;
	return is_capital(before) && i + 1 < len && is_small(name[i + 1]);
}

static bool
word_is(const char *word, int len, const char *expected)
{
	if (len != (int) strlen(expected))
		return false;
	for (int i = 0; i < len; i++)
	{
		char		c = word[i];

		if (is_capital(c))
			c += 'a' - 'A';
		if (c != expected[i])
			return false;
	}
	return true;
}

static PolicyKeySense
word_sense(const char *word, int len)
{
	for (int i = 0; i < (int) lengthof(key_words); i++)
	{
		if (word_is(word, len, key_words[i].word))
			return key_words[i].sense;
	}
	return POLICY_KEY_OTHER;
}

static PolicyKeyBound
word_bound(const char *word, int len)
{
	if (word_is(word, len, "max"))
		return POLICY_BOUND_MAX;
	if (word_is(word, len, "min"))
		return POLICY_BOUND_MIN;
	return POLICY_BOUND_NONE;
}

PolicyConstraintKey
policy_constraint_key(const char *name, int len)
{
	PolicyConstraintKey key = {POLICY_KEY_OTHER, POLICY_BOUND_NONE};
	bool		first = true;
	int			i = 0;

	while (i < len)
	{
		int			start = i;
		PolicyKeySense sense;

		if (is_separator(name[i]))
		{
			i++;
			continue;
		}

		do
			i++;
		while (i < len && !is_separator(name[i]) && !begins_word(name, len, i));

		sense = word_sense(name + start, i - start);
		if (sense == POLICY_KEY_DENIES ||
			(sense == POLICY_KEY_ALLOWS && key.sense == POLICY_KEY_OTHER))
			key.sense = sense;
		if (first)
			key.bound = word_bound(name + start, i - start);
		first = false;
	}
	return key;
}
