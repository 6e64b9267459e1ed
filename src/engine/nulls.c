/*
 * nulls.c
 *	  A job without its nulls, for a `when` to be asked of a second time.
 */
#include "postgres.h"

#include "engine/nulls.h"
#include "engine/place.h"

static bool
has_null(Jsonb *source)
{
	JsonbIterator *iterator = JsonbIteratorInit(&source->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvNull)
			return true;
	}
	return false;
}

Jsonb *
policy_without_nulls(Jsonb *source, const PolicyPathList *kept)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue *result = NULL;
	Place		place;

	if (!has_null(source))
		return source;
	policy_place_init(&place);
	iterator = JsonbIteratorInit(&source->root);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		policy_place_follow(&place, token, &value);
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvNull &&
			!policy_place_is_on(&place, kept))
		{
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
			result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		}
		else
			result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
	return JsonbValueToJsonb(result);
}
