/*
 * constraint_key.c
 *	  What a constraint's name says of which value is tighter.
 */
#include "postgres.h"

#include "language/constraint_key.h"

typedef struct KeyWord
{
	const char *word;
	int			len;
	PolicyKeySense sense;
} KeyWord;

#define KEY_WORD(word, sense) {word, sizeof(word) - 1, sense}

static const KeyWord key_words[] = {
	KEY_WORD("deny", POLICY_KEY_DENIES),
	KEY_WORD("denied", POLICY_KEY_DENIES),
	KEY_WORD("denylist", POLICY_KEY_DENIES),
	KEY_WORD("disallow", POLICY_KEY_DENIES),
	KEY_WORD("disallowed", POLICY_KEY_DENIES),
	KEY_WORD("block", POLICY_KEY_DENIES),
	KEY_WORD("blocked", POLICY_KEY_DENIES),
	KEY_WORD("blocklist", POLICY_KEY_DENIES),
	KEY_WORD("forbid", POLICY_KEY_DENIES),
	KEY_WORD("forbidden", POLICY_KEY_DENIES),
	KEY_WORD("allow", POLICY_KEY_ALLOWS),
	KEY_WORD("allowed", POLICY_KEY_ALLOWS),
	KEY_WORD("allowlist", POLICY_KEY_ALLOWS)
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
word_is(const char *word, const char *expected, int len)
{
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
	/* No word begins otherwise. */
	if (strchr("abdfABDF", word[0]) == NULL)
		return POLICY_KEY_OTHER;
	for (int i = 0; i < (int) lengthof(key_words); i++)
	{
		if (len == key_words[i].len && word_is(word, key_words[i].word, len))
			return key_words[i].sense;
	}
	return POLICY_KEY_OTHER;
}

static PolicyKeyBound
word_bound(const char *word, int len)
{
	if (len == 3 && word_is(word, "max", len))
		return POLICY_BOUND_MAX;
	if (len == 3 && word_is(word, "min", len))
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
