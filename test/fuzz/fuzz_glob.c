/*
 * fuzz_glob.c
 *	  A pattern matches what a naive, recursive matcher says.  The input is a
 *	  pattern, a line end, and a value.
 */
#include "shim.h"

#include "engine/glob.h"
#include "language/normalize.h"

#define LONGEST_INPUT 48		/* the naive matcher takes exponential time */

int			LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static bool
accepts(const PolicyPatternToken *token, pg_wchar c)
{
	for (int i = 0; i < token->nranges; i++)
	{
		if (c >= token->ranges[i].first && c <= token->ranges[i].last)
			return !token->negated;
	}
	return token->negated;
}

static bool
naive_match(const PolicyPatternToken *token, int ntokens, const char *value, int len)
{
	int			n;

	if (ntokens == 0)
		return len == 0;
	if (token->kind == POLICY_TOKEN_LITERAL)
		return len >= token->len && memcmp(value, token->bytes, token->len) == 0 &&
			naive_match(token + 1, ntokens - 1, value + token->len, len - token->len);
	if (token->kind == POLICY_TOKEN_ANY_RUN &&
		naive_match(token + 1, ntokens - 1, value, len))
		return true;
	if (len == 0)
		return false;
	n = pg_utf_mblen((const unsigned char *) value);
	if (token->kind == POLICY_TOKEN_ANY_RUN)
		return naive_match(token, ntokens, value + n, len - n);
	if (token->kind == POLICY_TOKEN_CLASS &&
		!accepts(token, utf8_to_unicode((const unsigned char *) value)))
		return false;
	return naive_match(token + 1, ntokens - 1, value + n, len - n);
}

static void
check(const char *pattern, int pattern_len, const char *value, int value_len)
{
	PolicyDiagnostics diags;
	PolicyMark	mark = {1, 1};
	PolicyPattern *parsed;
	const char *normal;
	int			normal_len;
	Glob		glob;

	policy_diagnostics_init(&diags);
	parsed = policy_pattern_parse(pattern, pattern_len, mark, &diags);
	if ((parsed == NULL) != (diags.nerrors > 0))
		abort();
	if (parsed == NULL ||
		!policy_normalize(value, value_len, POLICY_TRIM, &normal, &normal_len))
		return;
	glob_compile(parsed, NULL, &glob);
	if (glob_match(&glob, normal, normal_len) !=
		naive_match(parsed->tokens, parsed->ntokens, normal, normal_len))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	const char *text = (const char *) data;
	const char *cut = memchr(data, '\n', size);
	MemoryContext context = shim_begin_input();

	if (cut != NULL && size <= LONGEST_INPUT && shim_is_text(text, size))
	{
		int			pattern_len = cut - text;
		int			value_len = size - pattern_len - 1;

		check(pnstrdup(text, pattern_len), pattern_len,
			  pnstrdup(cut + 1, value_len), value_len);
	}
	shim_end_input(context);
	return 0;
}
