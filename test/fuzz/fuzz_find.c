/*
 * fuzz_find.c
 *	  What glob_find() finds is what was asked for, and where it finds that nothing
 *	  can be, nothing is among all short values.  The input is a number and up to
 *	  four patterns, a line each: a value must match the first, and one of the next
 *	  two where the number says so, and none of the others.
 */
#include "shim.h"

#include "engine/glob_find.h"
#include "language/normalize.h"

#define LONGEST_INPUT 64
#define MAX_PATTERNS 4
#define MAX_CHARACTERS 5
#define MAX_LENGTH 4

typedef struct Question
{
	SearchGlob	globs[MAX_PATTERNS];
	int			nglobs;
	GlobList	some[2];
	GlobList	none;
} Question;

int			LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static bool
any_matches(const GlobList *list, const char *value, int len)
{
	for (int i = 0; i < list->count; i++)
	{
		if (glob_match(&list->globs[i].glob, value, len))
			return true;
	}
	return false;
}

static bool
satisfies(const Question *question, const char *value, int len)
{
	const char *normal;
	int			normal_len;

	if (len == 0 || !policy_normalize(value, len, POLICY_TRIM, &normal, &normal_len) ||
		normal_len != len || memcmp(normal, value, len) != 0)
		return false;
	for (const GlobList *list = question->some; list != NULL; list = list->next)
	{
		if (!any_matches(list, value, len))
			return false;
	}
	return !any_matches(&question->none, value, len);
}

/* Aborts where a value of up to MAX_LENGTH of the characters satisfies. */
static void
try_values(const Question *question, const pg_wchar *characters, int ncharacters,
		   char *value, int len, int left)
{
	if (satisfies(question, value, len))
		abort();
	for (int i = 0; left > 0 && i < ncharacters; i++)
	{
		unicode_to_utf8(characters[i], (unsigned char *) value + len);
		try_values(question, characters, ncharacters, value,
				   len + pg_utf_mblen((unsigned char *) value + len), left - 1);
	}
}

/* Characters of the text, each once, and one more. */
static int
collect_characters(const char *text, int len, pg_wchar *characters)
{
	int			count = 0;

	characters[count++] = 'y';
	for (int at = 0; at < len && count < MAX_CHARACTERS;
		 at += pg_utf_mblen((const unsigned char *) text + at))
	{
		pg_wchar	c = utf8_to_unicode((const unsigned char *) text + at);
		bool		known = c == '*' || c == '?' || c == '[' || c == '\n';

		for (int i = 0; i < count; i++)
			known = known || characters[i] == c;
		if (!known)
			characters[count++] = c;
	}
	return count;
}

static void
check(Question *question, const char *text, int len, bool second)
{
	PolicyWork	work = {INT64CONST(10000000)};
	pg_wchar	characters[MAX_CHARACTERS];
	char		value[MAX_LENGTH * MAX_MULTIBYTE_CHAR_LEN + 1];
	const char *found;
	int			found_len;
	int			next = 1;

	question->some[0] = (GlobList)
	{
		question->globs, 1, NULL
	};
	if (second && question->nglobs > 1)
	{
		question->some[1] = (GlobList)
		{
			question->globs + 1, Min(question->nglobs - 1, 2), NULL
		};
		next += question->some[1].count;
		question->some[0].next = &question->some[1];
	}
	question->none = (GlobList)
	{
		question->globs + next, question->nglobs - next, NULL
	};
	switch (glob_find(question->some, &question->none, &work, &found, &found_len))
	{
		case POLICY_FOUND:
			if (!satisfies(question, found, found_len))
				abort();
			break;
		case POLICY_IMPOSSIBLE:
			try_values(question, characters, collect_characters(text, len, characters),
					   value, 0, MAX_LENGTH);
			break;
		case POLICY_GAVE_UP:
			break;
	}
}

/* Reads the patterns; false where one is none. */
static bool
read_patterns(const char *text, int len, Question *question)
{
	PolicyDiagnostics diags;
	PolicyMark	mark = {1, 1};

	policy_diagnostics_init(&diags);
	while (len > 0 && question->nglobs < MAX_PATTERNS)
	{
		const char *end = memchr(text, '\n', len);
		int			n = end != NULL ? end - text : len;
		PolicyPattern *pattern = policy_pattern_parse(pnstrdup(text, n), n, mark, &diags);

		if (pattern == NULL)
			return false;
		glob_search_prepare(pattern, &question->globs[question->nglobs++]);
		text += Min(n + 1, len);
		len -= Min(n + 1, len);
	}
	return question->nglobs > 0;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	MemoryContext context = shim_begin_input();
	Question   *question = palloc0(sizeof(Question));

	if (size > 1 && size <= LONGEST_INPUT)
	{
		const char *text = (const char *) data + 1;
		int			len = size - 1;

		if (shim_is_text(text, len) && read_patterns(text, len, question))
			check(question, text, len, data[0] % 2 == 1);
	}
	shim_end_input(context);
	return 0;
}
