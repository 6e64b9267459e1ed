/*
 * pattern.c
 *	  Patterns of match lists, parsed (docs/policy-language.md, section 2).
 *
 * Wildcards and classes are found in the pattern as written; what is left is
 * normalised afterwards, so that nothing turns into a wildcard.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "language/normalize.h"
#include "language/pattern.h"

typedef struct PatternParser
{
	const char *at;
	const char *end;
	PolicyPattern *pattern;
	PolicyDiagnostics *diags;
	char	   *literal;		/* bytes since the last token, as written */
	int			literal_len;
	bool		at_start;		/* no token yet: the literal is trimmed left */
	PolicyCharRange *ranges;	/* of the class at hand */
	int			nranges;
} PatternParser;

static bool
refuse(PatternParser *parser, const char *hint, const char *problem)
{
	policy_diagnose(parser->diags, parser->pattern->mark, POLICY_SEVERITY_ERROR,
					"bad_pattern", hint, "bad pattern \"%s\": %s",
					policy_excerpt(parser->pattern->source, parser->pattern->sourcelen),
					problem);
	return false;
}

static PolicyPatternToken *
add_token(PatternParser *parser, PolicyTokenKind kind)
{
	PolicyPatternToken *token = &parser->pattern->tokens[parser->pattern->ntokens++];

	memset(token, 0, sizeof(PolicyPatternToken));
	token->kind = kind;
	parser->at_start = false;
	return token;
}

/* Ends the literal before a wildcard, or before the end. */
static bool
end_literal(PatternParser *parser, bool at_end)
{
	int			trim = (parser->at_start ? POLICY_TRIM_LEFT : 0) |
	(at_end ? POLICY_TRIM_RIGHT : 0);
	PolicyPatternToken *token;
	const char *bytes;
	int			len;

	if (!policy_normalize(parser->literal, parser->literal_len, trim, &bytes, &len))
		return refuse(parser, "Use at most 30 combining characters in a row.",
					  "too many combining characters in a row");
	if (len > 0)
	{
		token = add_token(parser, POLICY_TOKEN_LITERAL);
		token->bytes = pnstrdup(bytes, len);
		token->len = len;
	}
	parser->literal_len = 0;
	return true;
}

static void
add_any_run(PatternParser *parser)
{
	PolicyPattern *pattern = parser->pattern;

	if (pattern->ntokens == 0 ||
		pattern->tokens[pattern->ntokens - 1].kind != POLICY_TOKEN_ANY_RUN)
		add_token(parser, POLICY_TOKEN_ANY_RUN);
}

/* One member of a class as written: the code point, and whether it was escaped. */
static bool
read_member(PatternParser *parser, pg_wchar *c, bool *escaped)
{
	*escaped = *parser->at == '\\';
	if (*escaped && ++parser->at == parser->end)
		return refuse(parser, "Write \\\\ for a backslash.", "it ends with \"\\\"");
	*c = utf8_to_unicode((const unsigned char *) parser->at);
	parser->at += pg_utf_mblen((const unsigned char *) parser->at);
	return true;
}

static void
add_range(PatternParser *parser, pg_wchar first, pg_wchar last)
{
	parser->ranges[parser->nranges].first = first;
	parser->ranges[parser->nranges].last = last;
	parser->nranges++;
}

static bool
add_member(PatternParser *parser, pg_wchar c)
{
	unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN + 1];
	const char *normal;
	int			len;

	unicode_to_utf8(c, utf8);
	if (!policy_normalize((char *) utf8, pg_utf_mblen(utf8), 0, &normal, &len) ||
		len == 0 || pg_utf_mblen((const unsigned char *) normal) != len)
		return refuse(parser, "List characters that stay one character when normalised.",
					  "a member of the class does not normalise to one character");
	c = utf8_to_unicode((const unsigned char *) normal);
	add_range(parser, c, c);
	return true;
}

static bool
add_member_range(PatternParser *parser, pg_wchar first, pg_wchar last)
{
	bool		digits = first >= '0' && last <= '9';
	bool		lower = first >= 'a' && last <= 'z';
	bool		upper = first >= 'A' && last <= 'Z';

	if (first > last || !(digits || lower || upper))
		return refuse(parser, "Write ranges as [0-9], [a-z] or [A-Z], and list other characters.",
					  "a range must go up between two ASCII digits, or two ASCII letters of one case");
	if (upper)
		add_range(parser, first + ('a' - 'A'), last + ('a' - 'A'));
	else
		add_range(parser, first, last);
	return true;
}

static int
compare_ranges(const void *a, const void *b)
{
	const PolicyCharRange *left = a;
	const PolicyCharRange *right = b;

	return (left->first > right->first) - (left->first < right->first);
}

/* Sorts, and unites what overlaps or touches. */
static void
unite_ranges(PatternParser *parser)
{
	int			count = 0;

	qsort(parser->ranges, parser->nranges, sizeof(PolicyCharRange), compare_ranges);
	for (int i = 0; i < parser->nranges; i++)
	{
		PolicyCharRange *last = count > 0 ? &parser->ranges[count - 1] : NULL;

		if (last != NULL && parser->ranges[i].first <= last->last + 1)
			last->last = Max(last->last, parser->ranges[i].last);
		else
			parser->ranges[count++] = parser->ranges[i];
	}
	parser->nranges = count;
}

/* One member, or a range of them. */
static bool
read_class_item(PatternParser *parser)
{
	pg_wchar	first;
	pg_wchar	last;
	bool		escaped;

	if (!read_member(parser, &first, &escaped))
		return false;
	if (parser->end - parser->at < 2 || parser->at[0] != '-' || parser->at[1] == ']')
		return add_member(parser, first);
	parser->at++;
	return read_member(parser, &last, &escaped) && add_member_range(parser, first, last);
}

/* How many bytes a class has at most, from where the parser is. */
static int
class_length(const PatternParser *parser)
{
	const char *at = parser->at;

	while (at < parser->end && *at != ']')
		at += (*at == '\\' && parser->end - at > 1) ? 2 : 1;
	return (int) (at - parser->at);
}

/* A class, from behind its [. */
static bool
read_class(PatternParser *parser)
{
	static const char *const unclosed = "a class is not closed";
	static const char *const unclosed_hint = "Close it with ], or write \\[ for a bracket.";
	PolicyPatternToken *token;
	bool		negated = false;

	if (parser->at < parser->end && *parser->at == '^')
		return refuse(parser, "Negate a class with [!...].", "a class begins with \"^\"");
	if (parser->at < parser->end && *parser->at == '!')
	{
		negated = true;
		parser->at++;
	}
	if (parser->at == parser->end)
		return refuse(parser, unclosed_hint, unclosed);
	if (*parser->at == ']')
		return refuse(parser, "Name a character in it, or write \\[ for a bracket.",
					  "a class is empty");

	parser->ranges = palloc(sizeof(PolicyCharRange) * class_length(parser));
	parser->nranges = 0;
	while (parser->at < parser->end && *parser->at != ']')
	{
		if (!read_class_item(parser))
			return false;
	}
	if (parser->at == parser->end)
		return refuse(parser, unclosed_hint, unclosed);
	parser->at++;
	unite_ranges(parser);
	token = add_token(parser, POLICY_TOKEN_CLASS);
	token->negated = negated;
	token->ranges = parser->ranges;
	token->nranges = parser->nranges;
	return true;
}

static bool
read_token(PatternParser *parser)
{
	char		c = *parser->at;

	if (c == '*' || c == '?' || c == '[')
	{
		if (!end_literal(parser, false))
			return false;
		parser->at++;
		if (c == '[')
			return read_class(parser);
		if (c == '*')
			add_any_run(parser);
		else
			add_token(parser, POLICY_TOKEN_ANY_CHAR);
		return true;
	}
	if (c == '\\' && ++parser->at == parser->end)
		return refuse(parser, "Write \\\\ for a backslash.", "it ends with \"\\\"");
	for (int n = pg_utf_mblen((const unsigned char *) parser->at); n > 0; n--)
		parser->literal[parser->literal_len++] = *parser->at++;
	return true;
}

/* A wildcard or class is a token, and so can be the literal before each. */
static int
most_tokens(const char *source, int len)
{
	int			count = 1;

	for (int i = 0; i < len; i++)
		count += (source[i] == '*' || source[i] == '?' || source[i] == '[') ? 2 : 0;
	return count;
}

PolicyPattern *
policy_pattern_parse(const char *source, int len, PolicyMark mark,
					 PolicyDiagnostics *diags)
{
	PatternParser parser = {.at = source, .end = source + len, .diags = diags};
	PolicyPattern *pattern = palloc0(sizeof(PolicyPattern));

	pattern->source = pnstrdup(source, len);
	pattern->sourcelen = len;
	pattern->mark = mark;
	pattern->tokens = palloc(sizeof(PolicyPatternToken) * most_tokens(source, len));
	parser.pattern = pattern;
	parser.literal = palloc(len + 1);
	parser.at_start = true;
	while (parser.at < parser.end)
	{
		if (!read_token(&parser))
			return NULL;
	}
	if (!end_literal(&parser, true))
		return NULL;
	if (pattern->ntokens == 0)
	{
		refuse(&parser, "Name a value, or write * for any.", "it is empty");
		return NULL;
	}
	return pattern;
}
