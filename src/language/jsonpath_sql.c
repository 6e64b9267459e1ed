/*
 * jsonpath_sql.c
 *	  What the language asks of PostgreSQL's jsonpath, inside the server.
 *
 * A `when` is parsed by PostgreSQL and then walked here: what could take long
 * inside one predicate, where PostgreSQL checks for no interrupt, is refused, and
 * the places that it reads are collected.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonpath.h"
#include "utils/numeric.h"

#include "compat.h"
#include "errors.h"
#include "language/jsonpath.h"

/*
 * What is kept of a path that is read.  One that goes deeper counts as reading
 * all that is below.
 */
#define MAX_READ_STEPS 32

/* What is remembered of a group in parentheses while a predicate is rewritten. */
#define GROUP_TURNED 1			/* it stands under an odd number of ! */
#define GROUP_KEEPS 2			/* a filter that keeps what it cannot judge */

typedef struct PredicateWalk
{
	PolicyDiagnostics *diags;
	PolicyMark	mark;
	const char *text;
	bool		lax;
	int			filters;		/* that the walk is inside of */
	PolicyPathList *reads;
	PolicyPathList *nulls;
} PredicateWalk;

/* A path on the way: what has been read of it, and what it can yield. */
typedef struct PathState
{
	PolicyStep *steps;
	int			nsteps;
	int			capacity;		/* of steps; 0 where they are another path's */
	bool		rooted;			/* it is a path, and no literal */
	bool		ended;			/* by a method or a wildcard: nothing is added */
	bool		several;		/* it can yield several items */
	int			descents;		/* how many .** are on it */
	bool		typed;			/* its type is asked for */
	int			lists;			/* how many subscripts name several places */
} PathState;

static bool walk_predicate(PredicateWalk *walk, JsonPathItem *item, const PathState *current);
static bool walk_expression(PredicateWalk *walk, JsonPathItem *item,
							const PathState *current, PathState *result);

static bool
refuse(PredicateWalk *walk, const char *hint, const char *problem)
{
	policy_diagnose(walk->diags, walk->mark, POLICY_SEVERITY_ERROR, "bad_jsonpath", hint,
					"bad jsonpath \"%s\": %s",
					policy_excerpt(walk->text, strlen(walk->text)), problem);
	return false;
}

/*
 * Parses, or returns NULL with PostgreSQL's message in *problem.  Parsing takes
 * nothing but memory, so that no subtransaction is needed to go on after an
 * error.
 */
static JsonPath *
parse_jsonpath(const char *text, char **problem)
{
	MemoryContext context = CurrentMemoryContext;
	JsonPath   *volatile path = NULL;

	PG_TRY();
	{
		path = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (policy_error_stops_query(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		*problem = error->message;
	}
	PG_END_TRY();
	return path;
}

static PolicyStep *
add_step(PathState *path, PolicyStepKind kind)
{
	PolicyStep *step;

	if (path->ended || !path->rooted)
		return NULL;
	if (path->nsteps >= path->capacity)
	{
		PolicyStep *steps;

		path->capacity = Max(4, path->nsteps * 2);
		steps = palloc(sizeof(PolicyStep) * path->capacity);
		if (path->nsteps > 0)
			memcpy(steps, path->steps, sizeof(PolicyStep) * path->nsteps);
		path->steps = steps;
	}
	step = &path->steps[path->nsteps++];
	memset(step, 0, sizeof(PolicyStep));
	step->kind = kind;
	return step;
}

static void
add_path(const PredicateWalk *walk, PolicyPathList *list, const PathState *state)
{
	PolicyPath *path;

	if (list->items == NULL)
		list->items = palloc(sizeof(PolicyPath) * 8);
	else if (list->count >= 8 && (list->count & (list->count - 1)) == 0)
		list->items = repalloc(list->items, sizeof(PolicyPath) * list->count * 2);
	path = &list->items[list->count++];
	path->mark = walk->mark;
	path->source = walk->text;
	path->steps = state->steps;
	path->nsteps = state->nsteps;
	path->lax = walk->lax;
}

/* A subscript that is a small integer; any other is not constant. */
static bool
constant_index(JsonPathItem *item, int32 *index)
{
	char	   *digits;

	if (item->type != jpiNumeric || jspHasNext(item))
		return false;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out,
												 NumericGetDatum(jspGetNumeric(item))));
	if (strlen(digits) > 9 || strspn(digits, "0123456789") != strlen(digits))
		return false;
	*index = (int32) strtol(digits, NULL, 10);
	return true;
}

static bool
walk_subscripts(PredicateWalk *walk, JsonPathItem *item, const PathState *current,
				PathState *path)
{
	int			nelems = item->content.array.nelems;
	int32		index = 0;
	bool		constant = nelems == 1;
	bool		several = nelems > 1;
	PolicyStep *step;

	for (int i = 0; i < nelems; i++)
	{
		JsonPathItem from;
		JsonPathItem to;
		PathState	ignored;
		bool		range = jspGetArraySubscript(item, &from, &to, i);

		several = several || range;
		constant = constant && !range && constant_index(&from, &index);
		if (!walk_expression(walk, &from, current, &ignored) ||
			(range && !walk_expression(walk, &to, current, &ignored)))
			return false;
	}
	if (several && ++path->lists > 1)
		return refuse(walk, "Use [*], or name one element at a time.",
					  "more than one list of subscripts on a path yields items without bound");
	path->several = path->several || several;
	step = add_step(path, constant ? POLICY_STEP_INDEX : POLICY_STEP_ANY_ELEMENT);
	if (step != NULL)
		step->index = index;
	return true;
}

static bool
add_descent(PredicateWalk *walk, PathState *path)
{
	if (++path->descents > 1)
		return refuse(walk, "Name the keys between, or use .** once.",
					  "more than one .** on a path takes time that grows with the power of their number");
	path->several = true;
	add_step(path, POLICY_STEP_ANY_BELOW);
	path->ended = true;
	return true;
}

static bool
walk_filter(PredicateWalk *walk, JsonPathItem *item, const PathState *path)
{
	JsonPathItem predicate;
	PathState	filtered = *path;
	bool		result;

	filtered.several = false;
	filtered.capacity = 0;
	jspGetArg(item, &predicate);
	walk->filters++;
	result = walk_predicate(walk, &predicate, &filtered);
	walk->filters--;
	return result;
}

/* One accessor or method on a path. */
static bool
walk_accessor(PredicateWalk *walk, JsonPathItem *item, const PathState *current,
			  PathState *path)
{
	PolicyStep *step;

	switch (item->type)
	{
		case jpiKey:
			step = add_step(path, POLICY_STEP_KEY);
			if (step != NULL)
				step->key = jspGetString(item, &step->keylen);
			return true;
		case jpiAnyArray:
			path->several = true;
			add_step(path, POLICY_STEP_ANY_ELEMENT);
			return true;
		case jpiAnyKey:
			path->several = true;
			add_step(path, POLICY_STEP_ANY_BELOW);
			path->ended = true;
			return true;
		case jpiAny:
			return add_descent(walk, path);
		case jpiIndexArray:
			return walk_subscripts(walk, item, current, path);
		case jpiFilter:
			return walk_filter(walk, item, path);
		case jpiKeyValue:
			path->several = true;
			path->ended = true;
			return true;
		case jpiType:
			path->typed = true;
			path->ended = true;
			return true;
		case jpiSize:
		case jpiAbs:
		case jpiFloor:
		case jpiCeiling:
		case jpiDouble:
		case jpiDatetime:
			path->ended = true;
			return true;
		default:
			return refuse(walk, "Use type, size, abs, floor, ceiling, double, datetime or keyvalue.",
						  "it uses a method that PostgreSQL 14 does not have");
	}
}

/* What a path, or any other expression, begins with. */
static bool
walk_start(PredicateWalk *walk, JsonPathItem *item, const PathState *current,
		   PathState *path)
{
	JsonPathItem arg;
	PathState	other;

	switch (item->type)
	{
		case jpiRoot:
			if (walk->filters > 0)
				return refuse(walk, "Compare with @ or a literal inside a filter.",
							  "a filter reads $, which takes quadratic time");
			path->rooted = true;
			path->several = walk->lax;
			return true;
		case jpiCurrent:
			if (current == NULL)
				return refuse(walk, "Use $ outside of a filter.", "@ stands outside of a filter");
			*path = *current;
			path->capacity = 0;
			path->several = walk->lax;
			return true;
		case jpiNull:
		case jpiString:
		case jpiNumeric:
		case jpiBool:
		case jpiLast:
			return true;
		case jpiPlus:
		case jpiMinus:
			jspGetArg(item, &arg);
			if (!walk_expression(walk, &arg, current, &other))
				return false;
			path->several = other.several;
			return true;
		case jpiAdd:
		case jpiSub:
		case jpiMul:
		case jpiDiv:
		case jpiMod:
			jspGetLeftArg(item, &arg);
			if (!walk_expression(walk, &arg, current, &other))
				return false;
			jspGetRightArg(item, &arg);
			return walk_expression(walk, &arg, current, &other);
		case jpiVariable:
			return refuse(walk, "Write the value itself.", "it uses a variable");
		default:
			return refuse(walk, "Compare paths and literals, as in $.payload.amount > 1000.",
						  "it uses what a policy's jsonpath cannot have");
	}
}

static bool
walk_expression(PredicateWalk *walk, JsonPathItem *item, const PathState *current,
				PathState *result)
{
	JsonPathItem at = *item;
	JsonPathItem next;

	check_stack_depth();
	memset(result, 0, sizeof(PathState));
	if (!walk_start(walk, item, current, result))
		return false;
	while (jspGetNext(&at, &next))
	{
		CHECK_FOR_INTERRUPTS();
		if (result->nsteps == MAX_READ_STEPS)
			result->ended = true;
		if (!walk_accessor(walk, &next, current, result))
			return false;
		at = next;
	}
	if (result->rooted)
		add_path(walk, walk->reads, result);
	return true;
}

/* A path that is compared with the literal null, or its type with "null". */
static void
add_null(const PredicateWalk *walk, const PathState *path, JsonPathItem *other)
{
	bool		asks = other->type == jpiNull;

	if (other->type == jpiString && path->typed)
	{
		int32		len;
		const char *name = jspGetString(other, &len);

		asks = len == 4 && memcmp(name, "null", 4) == 0;
	}
	if (asks && path->rooted)
		add_path(walk, walk->nulls, path);
}

static bool
walk_comparison(PredicateWalk *walk, JsonPathItem *item, const PathState *current)
{
	JsonPathItem left_item;
	JsonPathItem right_item;
	PathState	left;
	PathState	right;

	jspGetLeftArg(item, &left_item);
	if (!walk_expression(walk, &left_item, current, &left))
		return false;
	jspGetRightArg(item, &right_item);
	if (!walk_expression(walk, &right_item, current, &right))
		return false;
	if (left.several && right.several)
		return refuse(walk, "Let one side be a literal or a single value; in strict mode a path without wildcards is one.",
					  "both sides of a comparison can yield several items, which takes quadratic time");
	add_null(walk, &left, &right_item);
	add_null(walk, &right, &left_item);
	return true;
}

static bool
walk_predicate(PredicateWalk *walk, JsonPathItem *item, const PathState *current)
{
	JsonPathItem arg;
	PathState	ignored;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (jspHasNext(item))
		return refuse(walk, "Compare something, as in $.payload.amount > 1000.",
					  "it is not a predicate");
	switch (item->type)
	{
		case jpiAnd:
		case jpiOr:
			jspGetLeftArg(item, &arg);
			if (!walk_predicate(walk, &arg, current))
				return false;
			jspGetRightArg(item, &arg);
			return walk_predicate(walk, &arg, current);
		case jpiNot:
		case jpiIsUnknown:
			jspGetArg(item, &arg);
			return walk_predicate(walk, &arg, current);
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
			return walk_comparison(walk, item, current);
		case jpiStartsWith:
			jspGetRightArg(item, &arg);
			if (!walk_expression(walk, &arg, current, &ignored))
				return false;
			jspGetLeftArg(item, &arg);
			return walk_expression(walk, &arg, current, &ignored);
		case jpiExists:
			jspGetArg(item, &arg);
			return walk_expression(walk, &arg, current, &ignored);
		case jpiLikeRegex:
			return refuse(walk, "Use starts with, == or a pattern in labels.",
						  "it uses like_regex, whose time has no bound");
		default:
			return refuse(walk, "Compare something, as in $.payload.amount > 1000.",
						  "it is not a predicate");
	}
}

/* Whether a character can stand in a word of a jsonpath. */
static bool
is_word(char c)
{
	return c != '\0' && strchr(" \t\n\r\f\v?%$.[]{}()|&!=<>@#,*:-+/\"\\", c) == NULL;
}

static const char *
skip_digits(const char *text)
{
	return text + strspn(text, "0123456789");
}

/* From a number's first digit to behind it; NULL where JSON has no such number. */
static const char *
skip_number(const char *text)
{
	const char *end = (*text == '0') ? text + 1 : skip_digits(text);

	if (*end == '.')
	{
		const char *fraction = end + 1;

		end = skip_digits(fraction);
		if (end == fraction)
			return NULL;
	}
	if (*end == 'e' || *end == 'E')
	{
		const char *exponent = end + 1;

		exponent += (*exponent == '+' || *exponent == '-');
		end = skip_digits(exponent);
		if (end == exponent)
			return NULL;
	}
	return is_word(*end) ? NULL : end;
}

/* From a quotation mark to behind the one that closes it. */
static const char *
skip_string(const char *text)
{
	for (text++; *text != '\0' && *text != '"'; text++)
	{
		if (*text == '\\' && text[1] != '\0')
			text++;
	}
	return text + (*text != '\0');
}

static const char *
skip_word(const char *text)
{
	while (is_word(*text) || *text == '\\')
		text += (*text == '\\' && text[1] != '\0') ? 2 : 1;
	return text;
}

static const char *
skip_comment(const char *text)
{
	const char *end = strstr(text + 2, "*/");

	return (end != NULL) ? end + 2 : text + strlen(text);
}

/* From where a string, a comment, a word or another character begins to behind it. */
static const char *
skip_token(const char *text)
{
	if (*text == '"')
		return skip_string(text);
	if (text[0] == '/' && text[1] == '*')
		return skip_comment(text);
	if (is_word(*text) || *text == '\\')
		return skip_word(text);
	return text + 1;
}

/*
 * Whether a jsonpath that PostgreSQL reads has numbers only as JSON writes them.
 * Versions differ in every other form (.5, 1., 0x1F, 1_000, 1to), and a document
 * has to mean the same to all.
 */
static bool
has_json_numbers(const char *text)
{
	while (text != NULL && *text != '\0')
	{
		if (text[0] == '.' && text[1] >= '0' && text[1] <= '9')
			return false;
		if (*text >= '0' && *text <= '9')
			text = skip_number(text);
		else
			text = skip_token(text);
	}
	return text != NULL;
}

static void
open_group(StringInfo out, StringInfo groups, bool negates, bool filters, bool keep)
{
	bool		turned = groups->len > 0 && (groups->data[groups->len - 1] & GROUP_TURNED);
	char		group = 0;

	turned ^= negates;
	if (turned)
		group |= GROUP_TURNED;
	if (filters && keep != turned)
		group |= GROUP_KEEPS;
	appendStringInfoString(out, (group & GROUP_KEEPS) ? "((!(" : "(");
	appendStringInfoChar(groups, group);
}

static void
close_group(StringInfo out, StringInfo groups)
{
	bool		keeps = groups->len > 0 && (groups->data[--groups->len] & GROUP_KEEPS);

	appendStringInfoString(out, keeps ? ") || \"\" == 0) is unknown)" : ")");
}

char *
policy_predicate_bound(const char *text, bool highest)
{
	StringInfoData out;
	StringInfoData groups;
	bool		negates = false;
	bool		filters = false;

	initStringInfo(&out);
	initStringInfo(&groups);
	while (*text != '\0')
	{
		const char *token = text;

		text = skip_token(text);
		if (*token == '(')
		{
			open_group(&out, &groups, negates, filters, highest);
			negates = filters = false;
			continue;
		}
		if (*token == ')')
		{
			close_group(&out, &groups);
			continue;
		}
		negates = negates || (*token == '!' && *text != '=');
		filters = filters || *token == '?';
		appendBinaryStringInfo(&out, token, (int) (text - token));
	}
	return out.data;
}

/* Whether what is asked in place of a predicate with filters can be parsed, too. */
static bool
has_bounds(const char *text)
{
	char	   *problem;

	for (int highest = 0; highest <= 1; highest++)
	{
		const char *bound = policy_predicate_bound(text, highest);

		if (strcmp(bound, text) != 0 && parse_jsonpath(bound, &problem) == NULL)
			return false;
	}
	return true;
}

char *
policy_predicate_parse(const char *text, int len, PolicyMark mark,
					   bool *lax, PolicyPathList *reads, PolicyPathList *nulls,
					   PolicyDiagnostics *diags)
{
	PredicateWalk walk = {.diags = diags, .mark = mark, .reads = reads, .nulls = nulls};
	char	   *strict;
	char	   *problem = NULL;
	JsonPath   *path;
	JsonPathItem root;

	walk.text = pnstrdup(text, len);
	strict = psprintf("strict %s", walk.text);
	path = parse_jsonpath(strict, &problem);
	if (path == NULL)
	{
		/* It names a mode itself, or is wrong. */
		strict = unconstify(char *, walk.text);
		path = parse_jsonpath(strict, &problem);
	}
	if (path == NULL)
	{
		refuse(&walk, "It must be a PostgreSQL jsonpath predicate, as in $.payload.amount > 1000.",
			   problem);
		return NULL;
	}
	if (!has_json_numbers(walk.text))
	{
		refuse(&walk, "Write numbers as JSON does, with a blank behind them where a word follows.",
			   "it uses a number that not every version of PostgreSQL reads");
		return NULL;
	}
	walk.lax = *lax = (path->header & JSONPATH_LAX) != 0;
	jspInit(&root, path);
	if (!walk_predicate(&walk, &root, NULL))
		return NULL;
	if (!walk.lax && !has_bounds(strict))
	{
		refuse(&walk, "Nest filters a thousand deep at most.", "its filters are nested too deep");
		return NULL;
	}
	return strict;
}

static bool
refuse_path(PolicyDiagnostics *diags, PolicyMark mark, const char *text, int len)
{
	policy_diagnose(diags, mark, POLICY_SEVERITY_ERROR, "bad_path",
					"Write $ with .key, [n] and [*] only, as in $.payload.items[*].note.",
					"bad path \"%s\"", policy_excerpt(text, len));
	return false;
}

bool
policy_path_parse(const char *text, int len, PolicyMark mark,
				  PolicyPath *path, PolicyDiagnostics *diags)
{
	char	   *problem;
	JsonPath   *parsed;
	JsonPathItem item;
	JsonPathItem next;
	PathState	state = {.rooted = true};

	memset(path, 0, sizeof(PolicyPath));
	path->mark = mark;
	path->source = pnstrdup(text, len);
	if (len == 0 || text[0] != '$' || !has_json_numbers(path->source))
		return refuse_path(diags, mark, text, len);
	parsed = parse_jsonpath(path->source, &problem);
	if (parsed == NULL)
		return refuse_path(diags, mark, text, len);
	jspInit(&item, parsed);
	if (item.type != jpiRoot)
		return refuse_path(diags, mark, text, len);
	while (jspGetNext(&item, &next))
	{
		PolicyStep *step;
		JsonPathItem from;
		JsonPathItem to;
		int32		index;

		item = next;
		if (item.type == jpiKey)
		{
			step = add_step(&state, POLICY_STEP_KEY);
			step->key = jspGetString(&item, &step->keylen);
		}
		else if (item.type == jpiAnyArray)
			add_step(&state, POLICY_STEP_ANY_ELEMENT);
		else if (item.type == jpiIndexArray && item.content.array.nelems == 1 &&
				 !jspGetArraySubscript(&item, &from, &to, 0) &&
				 constant_index(&from, &index))
			add_step(&state, POLICY_STEP_INDEX)->index = index;
		else
			return refuse_path(diags, mark, text, len);
	}
	if (state.nsteps == 0)
		return refuse_path(diags, mark, text, len);
	path->steps = state.steps;
	path->nsteps = state.nsteps;
	return true;
}

static bool
is_element(const PolicyStep *step)
{
	return step->kind == POLICY_STEP_INDEX || step->kind == POLICY_STEP_ANY_ELEMENT;
}

static bool
steps_meet(const PolicyStep *a, const PolicyStep *b)
{
	if (a->kind == POLICY_STEP_KEY && b->kind == POLICY_STEP_KEY)
		return a->keylen == b->keylen && memcmp(a->key, b->key, a->keylen) == 0;
	if (!is_element(a) || !is_element(b))
		return false;
	return a->kind == POLICY_STEP_ANY_ELEMENT || b->kind == POLICY_STEP_ANY_ELEMENT ||
		a->index == b->index;
}

bool
policy_paths_overlap(const PolicyPath *a, const PolicyPath *b)
{
	bool		lax = a->lax || b->lax;
	int			i = 0;
	int			j = 0;

	for (;;)
	{
		while (lax && i < a->nsteps && is_element(&a->steps[i]))
			i++;
		while (lax && j < b->nsteps && is_element(&b->steps[j]))
			j++;
		if (i == a->nsteps || j == b->nsteps)
			return true;
		if (a->steps[i].kind == POLICY_STEP_ANY_BELOW || b->steps[j].kind == POLICY_STEP_ANY_BELOW)
			return true;
		if (!steps_meet(&a->steps[i], &b->steps[j]))
			return false;
		i++;
		j++;
	}
}
