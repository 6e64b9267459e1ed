/*
 * scalar_type.c
 *	  What a scalar is where a free value is expected.
 *
 * JSON's grammar (RFC 8259, section 6) and no more: what YAML 1.1 takes for a
 * number, 1_000 or 0x1F or 60:00, is a string.
 */
#include "postgres.h"

#include "language/yaml.h"

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Passes at least one digit; NULL where none is there. */
static const char *
need_digits(const char *p, const char *end)
{
	const char *after = skip_digits(p, end);

	return after > p ? after : NULL;
}

static bool
is_json_number(const char *text, int len)
{
	const char *p = text;
	const char *end = text + len;

	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else if ((p = need_digits(p, end)) == NULL)
		return false;

	if (p < end && *p == '.' && (p = need_digits(p + 1, end)) == NULL)
		return false;

	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if ((p = need_digits(p, end)) == NULL)
			return false;
	}
	return p == end;
}

static bool
text_is(const PolicyNode *node, const char *word)
{
	return node->u.scalar.len == (int) strlen(word) &&
		memcmp(node->u.scalar.text, word, node->u.scalar.len) == 0;
}

PolicyScalarType
policy_scalar_type(const PolicyNode *node)
{
	if (!node->u.scalar.plain)
		return POLICY_SCALAR_STRING;
	if (text_is(node, "null"))
		return POLICY_SCALAR_NULL;
	if (text_is(node, "true"))
		return POLICY_SCALAR_TRUE;
	if (text_is(node, "false"))
		return POLICY_SCALAR_FALSE;
	if (is_json_number(node->u.scalar.text, node->u.scalar.len))
		return POLICY_SCALAR_NUMBER;
	return POLICY_SCALAR_STRING;
}
